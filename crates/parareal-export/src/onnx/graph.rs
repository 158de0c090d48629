//! A graph of operations that is built one operation after the other.

use std::collections::{HashMap, HashSet};

use burn::tensor::{DType, TensorData};

use super::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionProto, GraphProto, NodeProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::ExportError;

/// A value in a graph: the input, a weight, or the output of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value(String);

/// An attribute of an operation.
pub(crate) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
}

/// The operations of a network and the weights that they use.
pub(crate) struct Graph<'a> {
    weights: &'a HashMap<String, TensorData>,
    used: HashSet<String>,
    graph: GraphProto,
}

impl<'a> Graph<'a> {
    /// Creates a graph without operations.
    pub(crate) fn new(name: &str, weights: &'a HashMap<String, TensorData>) -> Self {
        let graph = GraphProto { name: name.into(), ..GraphProto::default() };
        Self { weights, used: HashSet::new(), graph }
    }

    /// Adds an input of 32-bit floats. The first dimension is the batch, which may have any size.
    pub(crate) fn input(&mut self, name: &str, sample: &[usize]) -> Value {
        self.graph.input.push(batch_of(name, sample));
        Value(name.into())
    }

    /// Makes a value the output, under its own name.
    pub(crate) fn output(&mut self, name: &str, sample: &[usize], value: Value) {
        let node = NodeProto {
            input: vec![value.0],
            output: vec![name.into()],
            name: name.into(),
            op_type: "Identity".into(),
            attribute: Vec::new(),
        };
        self.graph.node.push(node);
        self.graph.output.push(batch_of(name, sample));
    }

    /// Returns the shape of a weight.
    ///
    /// # Errors
    /// If there is no weight of this name.
    pub(crate) fn shape_of(&self, name: &str) -> Result<&[usize], ExportError> {
        Ok(self.data(name)?.shape().as_slice())
    }

    /// Returns the weight of this name as a value.
    ///
    /// # Errors
    /// If there is no weight of this name, or it does not consist of 32-bit floats.
    pub(crate) fn weight(&mut self, name: &str) -> Result<Value, ExportError> {
        let data = self.data(name)?;
        if data.dtype() != DType::F32 {
            return Err(ExportError::Weight { name: name.into(), what: "is not of 32-bit floats" });
        }
        if self.used.insert(name.into()) {
            let dims: Vec<usize> = data.shape().as_slice().to_vec();
            let bytes = data.as_bytes().to_vec();
            self.constant_of(name, &dims, DataType::Float, bytes);
        }
        Ok(Value(name.into()))
    }

    /// Adds a constant of 32-bit floats.
    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant_of(name, dims, DataType::Float, bytes)
    }

    /// Adds a constant list of integers, such as a shape.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant_of(name, &[values.len()], DataType::Int64, bytes)
    }

    /// Adds an operation with one output, which has the name of the operation.
    pub(crate) fn node(
        &mut self,
        name: &str,
        operation: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Value {
        self.push(name, operation, inputs, vec![name.into()], attributes);
        Value(name.into())
    }

    /// Adds an operation with `count` outputs.
    pub(crate) fn split(
        &mut self,
        name: &str,
        inputs: &[&Value],
        count: usize,
        axis: i64,
    ) -> Vec<Value> {
        let outputs: Vec<String> = (0..count).map(|part| format!("{name}.{part}")).collect();
        self.push(name, "Split", inputs, outputs.clone(), &[("axis", Attribute::Int(axis))]);
        outputs.into_iter().map(Value).collect()
    }

    /// Returns the graph, and the names of the weights that no operation uses.
    pub(crate) fn finish(self) -> (GraphProto, Vec<String>) {
        let unused = self.weights.keys().filter(|name| !self.used.contains(*name));
        let mut unused: Vec<String> = unused.cloned().collect();
        unused.sort();
        (self.graph, unused)
    }

    fn data(&self, name: &str) -> Result<&'a TensorData, ExportError> {
        let missing = || ExportError::Weight { name: name.into(), what: "is missing" };
        self.weights.get(name).ok_or_else(missing)
    }

    fn constant_of(&mut self, name: &str, dims: &[usize], kind: DataType, bytes: Vec<u8>) -> Value {
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|&len| len as i64).collect(),
            data_type: kind.into(),
            name: name.into(),
            raw_data: bytes,
        });
        Value(name.into())
    }

    fn push(
        &mut self,
        name: &str,
        operation: &str,
        inputs: &[&Value],
        output: Vec<String>,
        attributes: &[(&str, Attribute<'_>)],
    ) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output,
            name: name.into(),
            op_type: operation.into(),
            attribute: attributes.iter().map(|(name, value)| value.to_proto(name)).collect(),
        });
    }
}

impl Value {
    /// The value of an optional input that is left out.
    pub(crate) fn absent() -> Self {
        Self(String::new())
    }
}

impl Attribute<'_> {
    fn to_proto(&self, name: &str) -> AttributeProto {
        let mut attribute = AttributeProto { name: name.into(), ..AttributeProto::default() };
        let kind = match *self {
            Self::Int(value) => {
                attribute.i = value;
                AttributeType::Int
            }
            Self::Float(value) => {
                attribute.f = value;
                AttributeType::Float
            }
            Self::Ints(values) => {
                attribute.ints = values.to_vec();
                AttributeType::Ints
            }
            Self::Text(text) => {
                attribute.s = text.as_bytes().to_vec();
                AttributeType::String
            }
        };
        attribute.kind = kind.into();
        attribute
    }
}

/// Describes a batch of samples of 32-bit floats.
fn batch_of(name: &str, sample: &[usize]) -> ValueInfoProto {
    let batch = Dimension::Parameter("batch".into());
    let sample = sample.iter().map(|&len| Dimension::Value(len as i64));
    let dim = [batch].into_iter().chain(sample);
    let dim = dim.map(|value| DimensionProto { value: Some(value) }).collect();
    let tensor = TensorTypeProto {
        elem_type: DataType::Float.into(),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto { name: name.into(), value_type: Some(TypeProto { tensor_type: Some(tensor) }) }
}
