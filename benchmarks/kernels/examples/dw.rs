use burn::tensor::{Device, Distribution, Tensor};
use parareal_kernels::{depthwise_conv2d, Root, Stepping, defer_weights};
use std::time::Instant;
fn main() {
    parareal_kernels::allocator::retain();
    let device = Device::flex();
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| {
    for (size, channels) in [(32, 64), (16, 128), (8, 256)] {
        let x = Tensor::<4>::random([32, size, size, channels], Distribution::Normal(0., 1.), &device);
        let w = Tensor::<4>::random([channels, 1, 3, 3], Distribution::Normal(0., 1.), &device);
        for _ in 0..3 {
            let (x, w) = (x.clone().autodiff().require_grad(), w.clone().autodiff().require_grad());
            let t = Instant::now();
            let y = depthwise_conv2d(x.clone(), w.clone(), Stepping { stride: 1, padding: 1 }, None);
            let f = t.elapsed();
            let g = y.clone().inner();
            let root = Root::new(y);
            let t = Instant::now();
            let (_, d) = defer_weights(|| root.pull_back(g));
            let b = t.elapsed();
            let t = Instant::now();
            d.compute();
            println!("{size} {channels}: {f:?} {b:?} {:?}", t.elapsed());
        }
    }});
}
