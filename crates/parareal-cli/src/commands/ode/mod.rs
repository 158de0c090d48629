//! `ode`: solves a problem serially and with the parareal algorithm, and compares both.

mod plot;
mod show;

use parareal_ode::{
    AnyPropagator, Complex, Contraction, Ending as Reason, Grid, Method, OdeError, Options,
    Parareal, Problem, Record, State, model_speedup, rounding_floor,
};
use parareal_train::{Format, OutputFile};

use crate::arguments::Ode;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{note, result};
use crate::status_line::StatusLine;

/// Largest total number of unknowns in all states. About five times as many numbers are held in memory.
const MAX_UNKNOWNS: usize = 20_000_000;
/// Duration in seconds below which a computation is run twice. The faster run counts, because the first one
/// starts with cold caches.
const SHORT: f64 = 1.0;

/// The problem and the methods.
struct Setup {
    problem: Problem,
    grid: Grid,
    fine: Method,
    coarse: Method,
    threads: usize,
    iterations: Option<usize>,
    absolute: Option<f64>,
    relative: Option<f64>,
}

/// Results of the serial and the parareal computation.
struct Study {
    setup: Setup,
    records: Vec<Record>,
    ending: Reason,
    /// Superlinear and linear error bound of each iterate, including rounding errors.
    bounds: Option<Vec<(f64, Option<f64>)>>,
    serial_seconds: f64,
    parallel_seconds: f64,
    /// Speedups predicted by the model, for the actual number of threads and for one thread per slice.
    model: [f64; 2],
    /// Distance of the serial fine solution from the reference solution at the final time.
    from_reference: f64,
    /// For each iterate, the error at each point of the grid.
    errors: Vec<Vec<f64>>,
    paths: Vec<Vec<(f64, f64)>>,
}

pub(crate) fn run(arguments: Ode) -> Result<Ending, Failure> {
    let setup = Setup::new(&arguments)?;
    let plot = arguments.plot.as_deref();
    let plot = plot.map(|path| OutputFile::new(path, &[Format::Svg], arguments.overwrite));
    let plot = plot.transpose()?;
    let study = match study(setup, interrupt::watch("after this iteration")) {
        Err(OdeError::Cancelled) => return Ok(Ending::Interrupted),
        study => study?,
    };
    match arguments.json {
        true => result(&show::as_json(&study).to_string())?,
        false => result(&show::as_text(&study))?,
    }
    if let Some(plot) = plot {
        let drawing = plot::draw(&study).map_err(Failure::Draw)?;
        plot.write(drawing.as_bytes())?;
        note(&format!("wrote the plot to {}", plot.path().display()));
    }
    Ok(if study.ending == Reason::Cancelled { Ending::Interrupted } else { Ending::Done })
}

impl Setup {
    fn new(arguments: &Ode) -> Result<Self, Failure> {
        let problem = problem(arguments)?;
        let defaults = problem.defaults();
        let interval = arguments.interval.unwrap_or(defaults.interval);
        let slices = arguments.slices.unwrap_or(defaults.slices);
        let grid = Grid::uniform(interval, slices)?;
        let size = problem.initial().len();
        if size.saturating_mul(slices) > MAX_UNKNOWNS {
            return Err(Failure::Flag(format!(
                "too many unknowns: {size} in each of {slices} slices, expected at most {MAX_UNKNOWNS} in \
                 total; reduce --size or --slices"
            )));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (absolute, mut relative) = (arguments.tolerance, arguments.relative_tolerance);
        let dahlquist = matches!(problem, Problem::Dahlquist { .. });
        let given = [absolute, relative].iter().any(Option::is_some);
        if !given && arguments.iterations.is_none() && !dahlquist {
            relative = Some(1e-6);
        }
        Ok(Self {
            problem,
            grid,
            fine: arguments.fine.unwrap_or(defaults.fine),
            coarse: arguments.coarse.unwrap_or(defaults.coarse),
            threads: arguments.threads.unwrap_or(cores.min(slices)),
            iterations: arguments.iterations,
            absolute,
            relative,
        })
    }

    fn prepare(&self) -> Result<Parareal<AnyPropagator, AnyPropagator>, OdeError> {
        let fine = self.problem.propagator(self.fine, &self.grid)?;
        let coarse = self.problem.propagator(self.coarse, &self.grid)?;
        let parareal = Parareal::new(self.grid.clone(), fine, coarse, self.threads)?;
        Ok(parareal.with_norm_scale(self.problem.norm_scale()))
    }

    fn slices(&self) -> usize {
        self.grid.slices().len()
    }
}

/// Returns the problem with this name. Rejects flags that apply only to other problems.
fn problem(arguments: &Ode) -> Result<Problem, Failure> {
    let name = arguments.problem.as_str();
    let refuse = |flag, problems| {
        Err(Failure::Flag(format!("{flag} requires --problem {problems}, got {name}")))
    };
    let size = arguments.size.unwrap_or(1000);
    let problem = match name {
        "dahlquist" => Problem::dahlquist(arguments.lambda.unwrap_or(Complex::new(-1.0, 0.0)))?,
        "heat" => Problem::heat(size)?,
        "advection-diffusion" => Problem::advection_diffusion(size)?,
        "lotka-volterra" => Problem::LotkaVolterra,
        "lorenz" => Problem::Lorenz,
        _ => {
            let names = Problem::NAMES.join(", ");
            return Err(Failure::Flag(format!(
                "invalid value `{name}` for --problem: expected one of {names}"
            )));
        }
    };
    if arguments.lambda.is_some() && name != "dahlquist" {
        return refuse("--lambda", "dahlquist");
    }
    if arguments.size.is_some() && !matches!(name, "heat" | "advection-diffusion") {
        return refuse("--size", "heat or advection-diffusion");
    }
    Ok(problem)
}

/// Solves the problem serially and with the parareal algorithm, and measures both.
fn study(setup: Setup, stop: impl Fn() -> bool + Sync) -> Result<Study, OdeError> {
    let (problem, slices) = (setup.problem, setup.slices());
    let initial = problem.initial();
    let parareal = setup.prepare()?;
    let (serial, mut serial_seconds) = parareal.serial(&initial, &stop)?;
    if serial_seconds < SHORT {
        serial_seconds = serial_seconds.min(parareal.serial(&initial, &stop)?.1);
    }

    let options = |reference| Options {
        iterations: setup.iterations,
        absolute_tolerance: setup.absolute,
        relative_tolerance: setup.relative,
        reference,
        guess: None,
        stop: &stop,
    };
    let scale = problem.norm_scale();
    let norm = |state: &Vec<f64>| scale * state.norm();
    let mut largest = serial.iter().map(norm).fold(0.0, f64::max);
    let (mut errors, mut paths) = (Vec::new(), Vec::new());
    let most = setup.iterations.unwrap_or(slices).min(slices);
    let mut status = StatusLine::new(most as u64);
    let solution = parareal.solve(&initial, &options(Some(&serial)), |iterate| {
        largest = iterate.states.iter().map(norm).fold(largest, f64::max);
        errors.push(iterate.errors.to_vec());
        let points = setup.grid.points().zip(iterate.states);
        paths.push(points.map(|(t, state)| plot::point(problem, t, state)).collect());
        let Record { k, max_error, .. } = iterate.record;
        status.show(*k as u64, || {
            let error = max_error.map_or(String::new(), |error| format!("  error {error:.1e}"));
            format!("iteration {k}/{most}{error}")
        });
    });
    drop(status);
    let solution = solution?;
    let mut parallel_seconds = solution.seconds();
    if parallel_seconds < SHORT && solution.ending != Reason::Cancelled {
        let again = parareal.solve(&initial, &options(None), |_| ())?;
        if again.ending != Reason::Cancelled {
            parallel_seconds = parallel_seconds.min(again.seconds());
        }
    }

    let coarse_seconds = solution.records[0].seconds;
    let seconds = [serial_seconds, coarse_seconds].map(|seconds| seconds / slices as f64);
    let iterations = solution.iterations();
    let model = [setup.threads, slices]
        .map(|processors| model_speedup(slices, iterations, processors, seconds));

    let first = solution.records[0].max_error.unwrap_or(0.0);
    let floor = rounding_floor(slices, setup.fine, largest);
    let bounds = problem.eigenvalues().map(|eigenvalues| {
        let contraction = Contraction::of(setup.fine, setup.coarse, &setup.grid, &eigenvalues);
        let at = |k| {
            let linear = contraction.linear(k).map(|factor| first * factor + floor);
            (first * contraction.superlinear(slices, k) + floor, linear)
        };
        (0..=iterations).map(at).collect()
    });
    let end = setup.grid.points().last().unwrap_or(0.0);
    let reference = problem.reference(&[end]);
    let from_reference = scale * serial[slices].distance(&reference[0]);
    let (records, ending) = (solution.records, solution.ending);
    Ok(Study {
        setup,
        records,
        ending,
        bounds,
        serial_seconds,
        parallel_seconds,
        model,
        from_reference,
        errors,
        paths,
    })
}
