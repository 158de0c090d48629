//! Type-erased visitors and mappers of Burn modules.
//!
//! [`Module::visit`] and [`Module::map`] are generic over the visitor or mapper, whose methods are generic
//! over the rank of a tensor. Here the rank is an argument, so that visitors and mappers can be trait
//! objects.

use std::any::Any;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor};

/// The largest rank of a parameter. Burn's optimizers have the same limit.
pub(super) const MAX_RANK: usize = 8;

/// The element type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Bool,
}

/// A [`ModuleVisitor`] that can be a trait object. `param` is a `Param<Tensor<RANK, KIND>>`.
pub(super) trait ErasedVisitor {
    fn tensor(&mut self, kind: Kind, rank: usize, param: &dyn Any);
    fn flag(&mut self, flag: &Param<Flag>);
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
}

/// A [`ModuleMapper`] that can be a trait object.
pub(super) trait ErasedMapper {
    fn tensor(&mut self, kind: Kind, rank: usize, param: Box<dyn Any>) -> Box<dyn Any>;
    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag>;
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
}

/// Adapts a generic visitor or mapper to the type-erased trait, and vice versa.
pub(super) struct Adapter<'a, T: ?Sized>(pub(super) &'a mut T);

/// Calls a function that is generic over the rank of a tensor.
macro_rules! with_rank {
    ($rank:expr, $d:ident => $body:expr) => {
        with_rank!(@arms $rank, $d, $body, 0 1 2 3 4 5 6 7 8)
    };
    (@arms $rank:expr, $d:ident, $body:expr, $($value:literal)*) => {
        match $rank {
            $($value => {
                const $d: usize = $value;
                $body
            })*
            rank => unreachable!("a layer has no parameter of rank {rank}"),
        }
    };
}

const TYPE: &str = "kind and rank determine the type of a parameter";

fn as_param<P: 'static>(param: &dyn Any) -> &P {
    param.downcast_ref().expect(TYPE)
}

fn into_param<P: 'static>(param: Box<dyn Any>) -> P {
    *param.downcast().expect(TYPE)
}

impl<V: ModuleVisitor> ErasedVisitor for Adapter<'_, V> {
    fn tensor(&mut self, kind: Kind, rank: usize, param: &dyn Any) {
        with_rank!(rank, D => match kind {
            Kind::Float => self.0.visit_float(as_param::<Param<Tensor<D>>>(param)),
            Kind::Int => self.0.visit_int(as_param::<Param<Tensor<D, Int>>>(param)),
            Kind::Bool => self.0.visit_bool(as_param::<Param<Tensor<D, Bool>>>(param)),
        });
    }

    fn flag(&mut self, flag: &Param<Flag>) {
        self.0.visit_flag(flag);
    }

    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}

impl ModuleVisitor for Adapter<'_, dyn ErasedVisitor + '_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.tensor(Kind::Float, D, param);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.0.tensor(Kind::Int, D, param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.0.tensor(Kind::Bool, D, param);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.0.flag(flag);
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }
}

impl<M: ModuleMapper> ErasedMapper for Adapter<'_, M> {
    fn tensor(&mut self, kind: Kind, rank: usize, param: Box<dyn Any>) -> Box<dyn Any> {
        with_rank!(rank, D => match kind {
            Kind::Float => Box::new(self.0.map_float(into_param::<Param<Tensor<D>>>(param))),
            Kind::Int => Box::new(self.0.map_int(into_param::<Param<Tensor<D, Int>>>(param))),
            Kind::Bool => Box::new(self.0.map_bool(into_param::<Param<Tensor<D, Bool>>>(param))),
        })
    }

    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.map_flag(flag)
    }

    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}

impl ModuleMapper for Adapter<'_, dyn ErasedMapper + '_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        into_param(self.0.tensor(Kind::Float, D, Box::new(param)))
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        into_param(self.0.tensor(Kind::Int, D, Box::new(param)))
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        into_param(self.0.tensor(Kind::Bool, D, Box::new(param)))
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.flag(flag)
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }
}

/// Returns the largest rank of a module's parameters.
pub(super) fn max_rank(module: &impl Module) -> usize {
    struct MaxRank(usize);

    impl ModuleVisitor for MaxRank {
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.0 = self.0.max(D);
        }

        fn visit_int<const D: usize>(&mut self, _: &Param<Tensor<D, Int>>) {
            self.0 = self.0.max(D);
        }

        fn visit_bool<const D: usize>(&mut self, _: &Param<Tensor<D, Bool>>) {
            self.0 = self.0.max(D);
        }
    }

    let mut max = MaxRank(0);
    module.visit(&mut max);
    max.0
}
