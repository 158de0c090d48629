//! No memory is allocated after the first iteration, with any propagators and any number of threads. The test
//! is a process of its own, because allocations are counted over all threads of a process.

use dhat::{Alloc, HeapStats, Profiler};
use parareal_ode::{Complex, Grid, Method, Options, Parareal, Problem};

#[global_allocator]
static ALLOCATOR: Alloc = Alloc;

#[test]
fn later_iterations_allocate_nothing() {
    let _profiler = Profiler::builder().testing().build();
    let dahlquist = Problem::dahlquist(Complex::new(-0.5, 1.0)).unwrap();
    let (heat, advection) =
        (Problem::heat(300).unwrap(), Problem::advection_diffusion(300).unwrap());
    // Threads allocate memory when they end, so no thread ends before all allocations have been counted.
    let mut kept = Vec::new();
    for (problem, fine, coarse) in [
        (dahlquist, "exact", "backward-euler"),
        (dahlquist, "rk4:10", "midpoint"),
        (heat, "exact", "backward-euler"),
        (heat, "midpoint:20", "backward-euler"),
        (advection, "backward-euler:20", "rk4:100"),
        (Problem::LotkaVolterra, "rk4:100", "backward-euler:4"),
        (Problem::Lorenz, "midpoint:50", "rk4:10"),
    ] {
        let grid = Grid::uniform(0.5, 24).unwrap();
        let propagator =
            |name: &str| problem.propagator(name.parse::<Method>().unwrap(), &grid).unwrap();
        for threads in [1, 2, 4] {
            let parareal =
                Parareal::new(grid.clone(), propagator(fine), propagator(coarse), threads).unwrap();
            let initial = problem.initial();
            let (serial, _) = parareal.serial(&initial, || false).unwrap();
            let options = Options { reference: Some(&serial), ..Options::default() };
            let mut counts = [0_u64; 25];
            let solution = parareal.solve(&initial, &options, |iterate| {
                counts[iterate.record.k] = HeapStats::get().total_blocks;
            });
            assert_eq!(solution.unwrap().iterations(), 24);
            kept.push(parareal);
            for k in 2..25 {
                let made = counts[k] - counts[k - 1];
                let what = format!("{problem}, {fine}, {coarse}, {threads} threads");
                assert_eq!(made, 0, "{what}: allocations in iteration {k}");
            }
        }
    }
}
