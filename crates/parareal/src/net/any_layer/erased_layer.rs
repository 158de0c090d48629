//! Type-erased layers: a module and the function that applies it.

use std::fmt;

use burn::module::{Devices, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::Device;

use super::erased_module::{Adapter, ErasedMapper, ErasedVisitor};

/// The methods of [`Module`] and [`Layer`](super::super::Layer), for a module of unknown type.
pub(super) trait ErasedLayer<A, B>: Send + fmt::Debug {
    fn forward(&self, input: A) -> B;
    fn boxed_clone(&self) -> BoxedLayer<A, B>;
    fn collect_devices(&self, devices: Devices) -> Devices;
    fn fork(self: Box<Self>, device: &Device) -> BoxedLayer<A, B>;
    fn to_device(self: Box<Self>, device: &Device) -> BoxedLayer<A, B>;
    fn train(self: Box<Self>) -> BoxedLayer<A, B>;
    fn valid(&self) -> BoxedLayer<A, B>;
    fn materialize(self: Box<Self>) -> BoxedLayer<A, B>;
    fn visit(&self, visitor: &mut dyn ErasedVisitor);
    fn map(self: Box<Self>, mapper: &mut dyn ErasedMapper) -> BoxedLayer<A, B>;
    fn format(&self, settings: DisplaySettings) -> String;
}

pub(super) type BoxedLayer<A, B> = Box<dyn ErasedLayer<A, B>>;

/// A module and the function that applies it.
#[derive(Clone)]
pub(super) struct Applied<M, F> {
    pub(super) module: M,
    pub(super) forward: F,
}

impl<M: fmt::Debug, F> fmt::Debug for Applied<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.module.fmt(f)
    }
}

impl<A, B, M, F> ErasedLayer<A, B> for Applied<M, F>
where
    M: Module + ModuleDisplay + 'static,
    F: Fn(&M, A) -> B + Clone + Send + 'static,
    A: 'static,
    B: 'static,
{
    fn forward(&self, input: A) -> B {
        (self.forward)(&self.module, input)
    }

    fn boxed_clone(&self) -> BoxedLayer<A, B> {
        Box::new(self.clone())
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.module.collect_devices(devices)
    }

    fn fork(self: Box<Self>, device: &Device) -> BoxedLayer<A, B> {
        Box::new(Self { module: self.module.fork(device), forward: self.forward })
    }

    fn to_device(self: Box<Self>, device: &Device) -> BoxedLayer<A, B> {
        Box::new(Self { module: self.module.to_device(device), forward: self.forward })
    }

    fn train(self: Box<Self>) -> BoxedLayer<A, B> {
        Box::new(Self { module: self.module.train(), forward: self.forward })
    }

    fn valid(&self) -> BoxedLayer<A, B> {
        Box::new(Self { module: self.module.valid(), forward: self.forward.clone() })
    }

    fn materialize(self: Box<Self>) -> BoxedLayer<A, B> {
        Box::new(Self { module: self.module.materialize(), forward: self.forward })
    }

    fn visit(&self, visitor: &mut dyn ErasedVisitor) {
        self.module.visit(&mut Adapter(visitor));
    }

    fn map(self: Box<Self>, mapper: &mut dyn ErasedMapper) -> BoxedLayer<A, B> {
        Box::new(Self { module: self.module.map(&mut Adapter(mapper)), forward: self.forward })
    }

    fn format(&self, settings: DisplaySettings) -> String {
        self.module.format(settings)
    }
}
