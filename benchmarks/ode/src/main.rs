//! Times the parareal algorithm for the heat equation, alternately with one and with two threads. Measures a
//! fine sweep, a whole solve, and two independent serial solutions that run at the same time, and compares
//! with the model. With `--json`, prints one line of numbers for `compare.py`.
//!
//! ```sh
//! cargo run --release -p ode-scaling                          # 1000 unknowns, 16 slices of 200 steps
//! cargo run --release -p ode-scaling -- 100000 8 10 5         # unknowns, slices, steps, rounds
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use parareal_ode::{
    AnyPropagator, Grid, Method, Options, Parareal, Problem, Scheme, Solution, model_speedup,
};

const INTERVAL: f64 = 0.1;
const THREADS: [usize; 2] = [1, 2];
/// Tolerance of the whole solve.
const TOLERANCE: f64 = 1e-4;

type Solver = Parareal<AnyPropagator, AnyPropagator>;

fn solver(
    problem: Problem,
    slices: usize,
    steps: usize,
    threads: usize,
) -> Result<Solver, Box<dyn Error>> {
    let grid = Grid::uniform(INTERVAL, slices)?;
    let euler = |steps| {
        let method = Method::Implicit { scheme: Scheme::BackwardEuler, steps };
        problem.propagator(method, &grid)
    };
    let solver = Parareal::new(grid.clone(), euler(steps)?, euler(1)?, threads)?;
    Ok(solver.with_norm_scale(problem.norm_scale()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = [1000, 16, 200, 9];
    let given: Vec<String> = std::env::args().skip(1).collect();
    let json = given.iter().any(|argument| argument == "--json");
    for (number, text) in numbers.iter_mut().zip(given.iter().filter(|text| *text != "--json")) {
        *number = text.parse()?;
    }
    let [size, slices, steps, rounds] = numbers;
    let problem = Problem::heat(size)?;
    let initial = problem.initial();
    let solvers = THREADS.map(|threads| solver(problem, slices, steps, threads));
    let solvers = solvers.into_iter().collect::<Result<Vec<_>, _>>()?;

    let (mut serial, mut both) = (Vec::new(), Vec::new());
    // Indexed by the number of threads minus 1.
    let mut solutions: [Vec<Solution<Vec<f64>>>; 2] = Default::default();
    for round in 0..rounds + 1 {
        let (_, seconds) = solvers[0].serial(&initial, || false)?;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for solver in &solvers {
                let initial = &initial;
                scope.spawn(move || solver.serial(initial, || false));
            }
        });
        let at_once = begun.elapsed().as_secs_f64();
        for (solver, solutions) in solvers.iter().zip(&mut solutions) {
            let options = Options { absolute_tolerance: Some(TOLERANCE), ..Options::default() };
            let solution = solver.solve(&initial, &options, |_| ())?;
            // The first round is a warm-up.
            if round > 0 {
                solutions.push(solution);
            }
        }
        if round > 0 {
            serial.push(seconds);
            both.push(2.0 * seconds / at_once);
        }
    }

    let serial = median(serial);
    let of = |threads: usize, value: fn(&Solution<Vec<f64>>) -> f64| {
        median(solutions[threads].iter().map(value).collect())
    };
    let sweep = [0, 1].map(|threads| of(threads, |solution| solution.records[1].fine_seconds));
    let iteration = [0, 1].map(|threads| {
        of(threads, |solution| solution.records[1].seconds - solution.records[0].seconds)
    });
    let whole = [0, 1].map(|threads| of(threads, Solution::seconds));
    let coarse = of(0, |solution| solution.records[0].seconds) / slices as f64;
    let iterations = solutions[0][0].iterations();
    if json {
        let value = serde_json::json!({
            "serial": serial, "sweep": sweep, "iteration": iteration, "whole": whole,
        });
        println!("{value}");
        return Ok(());
    }
    println!(
        "heat, {size} unknowns, {slices} slices of {steps} steps, jumps to {TOLERANCE:e}: \
         {iterations} iterations; medians of {rounds}"
    );
    let ms = |seconds: f64| 1e3 * seconds;
    println!("serial fine solution       {:9.2} ms", ms(serial));
    println!("                            1 thread     2 threads   ratio");
    for (name, [one, two]) in
        [("one fine sweep", sweep), ("the first iteration", iteration), ("the whole solve", whole)]
    {
        println!("{name:24} {:9.2} ms  {:9.2} ms   {:.2}", ms(one), ms(two), one / two);
    }
    println!(
        "two serial solutions in parallel, relative to one after the other: {:12.2}",
        median(both)
    );
    let [one, two] = whole.map(|whole| serial / whole);
    println!("speed-up over serial       {one:9.2}     {two:9.2}");
    let model = |processors| {
        model_speedup(slices, iterations, processors, [serial / slices as f64, coarse])
    };
    println!("predicted                  {:9.2}     {:9.2}", model(1), model(2));
    println!("predicted, {slices:3} threads    {:9.2}", model(slices));
    Ok(())
}
