//! Predictions for ResNet-1001 from the costs that the paper measured: the speedup with subnetworks, replicas
//! and other hardware, other methods in the same model, and the traffic between ranks.
//!
//! ```sh
//! cargo run --release -p scaling                 # tables
//! cargo run --release -p scaling -- FILE.svg     # and a picture
//! ```
#![allow(clippy::print_stdout)]

mod batch;
mod bytes;
mod machine;
mod methods;
mod network;
mod picture;
mod pipeline;
mod text;

use std::error::Error;
use std::path::PathBuf;

use parareal::timeline::Activity;

use bytes::Traffic;
use machine::{MACHINES, Machine};
use methods::{Method, Planner, Question};
use text::{megabytes, table};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Numbers of subnetworks. The largest ones are too large to be useful.
const CHAINS: [usize; 10] = [2, 3, 4, 6, 8, 12, 16, 18, 24, 32];
/// Numbers of GPUs, each with total batch sizes.
const QUESTIONS: [(usize, &[usize]); 3] =
    [(8, &[128, 256, 1024]), (64, &[128, 256, 1024, 8192]), (512, &[128, 256, 1024, 8192, 65_536])];

/// Table of one chain of `N` subnetworks with batch 128 on each machine.
fn chains(planners: &mut [Planner<'_>]) -> Result<String> {
    let mut rows = Vec::new();
    for pieces in CHAINS {
        let ask = Question { gpus: pieces, batch: 128, fixed: 0.0 };
        let mut row = vec![pieces.to_string()];
        let mut shares = Vec::new();
        for planner in planners.iter_mut() {
            let found = planner.parareal(ask, pieces, 1)?;
            row.push(format!("{:.2}", planner.serial() / found.makespan()));
            if shares.is_empty() {
                // The sum of an empty list is -0.0; adding 0.0 makes it positive.
                let link = 0.0 + found.critical_time(|kind| !kind.is_work());
                let chain = found.critical_time(Activity::is_coarse);
                let fine = found.makespan() - chain - link;
                shares.extend([fine, chain, link].map(|time| format!("{:.0}", 1e3 * time)));
                let most = found.memory.iter().copied().fold(0.0, f64::max);
                shares.push(format!("{:.1}", most / 1e9));
            }
        }
        row.extend(shares);
        rows.push(row);
    }
    let heading = ["N", "nodes of 8", "10 Gbit/s", "1 Gbit/s", "fine, ms", "chain, ms", "link, ms"];
    Ok(table(&[&heading[..], &["memory, GB"]].concat(), &rows))
}

/// Table of one pipeline and one chain with batch 128, without replicas.
fn rows_of_gpus(planner: &mut Planner<'_>) -> Result<String> {
    let mut rows = Vec::new();
    for gpus in [2, 4, 8, 16, 24, 32, 64, 128] {
        let mut row = vec![gpus.to_string()];
        for (method, fixed) in [
            (Method::ModelParallel, 0.0),
            (Method::Pipeline { recompute: false }, 0.0),
            (Method::Pipeline { recompute: true }, 0.0),
            (Method::Pipeline { recompute: false }, 1.0),
            (Method::Parareal, 0.0),
        ] {
            let found = planner.with(method, Question { gpus, batch: 128, fixed }, gpus, 1)?;
            row.push(match found {
                Some(found) if found.micro_batches > 1 => {
                    format!("{:.2} ({} micro)", found.speedup, found.micro_batches)
                }
                Some(found) => format!("{:.2}", found.speedup),
                None => "-".into(),
            });
        }
        rows.push(row);
    }
    let heading = [
        "GPUs",
        "model parallel",
        "GPipe, in proportion",
        "recomputing",
        "GPipe, no gain",
        "parareal",
    ];
    Ok(table(&heading, &rows))
}

/// Table of the best setting of each method, with replicas.
fn alternatives(planner: &mut Planner<'_>, fixed: f64) -> Result<String> {
    let mut rows = Vec::new();
    for (gpus, batches) in QUESTIONS {
        for &batch in batches {
            let mut row = vec![gpus.to_string(), batch.to_string()];
            for method in Method::COMPARED {
                row.push(planner.best(method, Question { gpus, batch, fixed })?.to_string());
            }
            rows.push(row);
        }
    }
    Ok(table(&["GPUs", "batch", "data parallel", "GPipe and data", "parareal and data"], &rows))
}

/// Table of the bytes that ranks send.
fn traffic() -> Result<String> {
    let mut rows = Vec::new();
    for subnetworks in [3, 6, 12, 18, 24] {
        let found = Traffic::of(&network::net(), subnetworks)?;
        let total: f64 = found.chain.iter().sum();
        let most = found.chain.iter().copied().fold(0.0, f64::max);
        let [two, eight] = found.replicas;
        let data = found.data_parallel;
        let numbers = [most, total, found.center, found.star, data, data * subnetworks as f64];
        let numbers = numbers.into_iter().chain([two, eight]).map(megabytes);
        rows.push([found.subnetworks.to_string()].into_iter().chain(numbers).collect());
    }
    let heading = [
        "N",
        "chain: a rank",
        "all",
        "star: its center",
        "all",
        "data parallel: a rank",
        "all",
        "averaging, R = 2",
        "R = 8",
    ];
    Ok(table(&heading, &rows))
}

fn main() -> Result<()> {
    let picture = std::env::args_os().nth(1).map(PathBuf::from);
    let mut planners =
        MACHINES.iter().map(Planner::new).collect::<std::result::Result<Vec<_>, _>>()?;
    println!("ResNet-1001, CIFAR-100, the paper's costs (Titan RTX) and coarse network");
    println!("N = 1, batch 128: {:.1} ms per step\n", 1e3 * planners[0].serial());

    println!(
        "One chain, batch 128: speed-up on each machine, and on the first one the critical path"
    );
    println!("and the largest memory of a GPU\n\n{}", chains(&mut planners)?);

    println!(
        "One pipeline or chain on the first machine, batch 128: speed-up if the time for fewer"
    );
    println!("than 128 images is proportional to their number, and if it does not depend on it\n");
    println!("{}", rows_of_gpus(&mut planners[0])?);

    println!("The best of each method: images per second relative to one GPU with batch 128");
    println!("(subnetworks×replicas, micro-batches; images seen by batch normalization)\n");
    for (machine, planner) in MACHINES.iter().zip(&mut planners) {
        for (fixed, bound) in [(1.0, "does not depend on"), (0.0, "is proportional to")] {
            let Machine { name, .. } = machine;
            println!("{name}; the time for fewer than 128 images {bound} their number\n");
            println!("{}", alternatives(planner, fixed)?);
        }
    }

    println!("Megabytes (10^6) sent in a step, batch 128, 32 bits\n\n{}", traffic()?);
    if let Some(path) = picture {
        picture::draw(&path, &mut planners)?;
    }
    Ok(())
}
