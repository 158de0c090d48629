//! Exported files of every kind of network.

use std::collections::HashMap;

use burn::tensor::{DType, TensorData};
use parareal::net::{PararealNetwork, StateDict};
use parareal_export::{
    ExportError, ImageDescription, ImportError, OnnxInput, TrainedNetwork, from_safetensors,
    read_tensors, to_onnx, to_pytorch, to_safetensors,
};
use parareal_models::{CoarseKind, ImageNetwork, UnitKind};
use parareal_testing::init;
use safetensors::tensor::{Dtype, TensorView};

/// A network with few channels and its initial weights.
fn network(name: &str, size: usize, subnetworks: usize, coarse: CoarseKind) -> TrainedNetwork {
    let net = ImageNetwork::sized(name.parse().unwrap(), size)
        .unwrap()
        .with_width(4)
        .with_classes(3)
        .with_coarse_kind(coarse);
    let cuts = net.default_cuts(subnetworks).unwrap();
    let built = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
    let images = ImageDescription {
        dataset: "folder".into(),
        padding: 0,
        class_names: ["cat", "dog \"x\"", "Übung"].map(String::from).into(),
        mean: vec![0.4, 0.5, 0.1 + 0.2],
        deviation: vec![0.2, 0.25, 0.3],
    };
    TrainedNetwork { net, weights: built.state_dict(), images, step: 7 }
}

/// Networks of every architecture, and every kind of coarse unit.
fn networks() -> Vec<TrainedNetwork> {
    let convolutional = UnitKind::CONVOLUTIONAL.map(|kind| ("resnet-20", 32, 3, kind.into()));
    let others = [
        ("resnet-20", 32, 1, CoarseKind::Auto),
        ("wide-resnet-10-2", 32, 3, CoarseKind::Auto),
        ("vgg16", 32, 6, CoarseKind::Auto),
        ("vgg16", 256, 2, CoarseKind::Auto),
        ("resnet50", 96, 4, CoarseKind::Auto),
        ("vit-tiny-8", 32, 3, CoarseKind::Auto),
        ("vit-tiny-8", 32, 2, UnitKind::None.into()),
    ];
    let all = convolutional.into_iter().chain(others);
    all.map(|(name, size, n, coarse)| network(name, size, n, coarse)).collect()
}

#[test]
fn every_network_is_written_with_all_of_its_weights() {
    for trained in networks() {
        for input in [OnnxInput::Normalized, OnnxInput::Unnormalized] {
            // A weight that no operation uses is an error.
            let file = to_onnx(&trained, input).unwrap();
            let values: usize = trained.weights.tensors().values().map(|t| t.num_elements()).sum();
            assert!(file.len() > 4 * values, "{}", trained.net.name());
        }
    }
}

#[test]
fn a_weight_that_does_not_belong_to_the_network_is_refused() {
    let trained = network("resnet-20", 32, 1, CoarseKind::Auto);
    let change = |change: &dyn Fn(&mut HashMap<String, TensorData>)| {
        let mut tensors = trained.weights.tensors().clone();
        change(&mut tensors);
        let weights = StateDict::new(trained.weights.cuts().clone(), tensors);
        to_onnx(&TrainedNetwork { weights, ..trained.clone() }, OnnxInput::Normalized).unwrap_err()
    };
    let missing = change(&|tensors| {
        tensors.remove("units.3.conv2.weight");
    });
    let expected = ExportError::Weight { name: "units.3.conv2.weight".into(), what: "is missing" };
    assert_eq!(missing, expected);
    let left_over = change(&|tensors| {
        let data = tensors["postprocessing.linear.bias"].clone();
        tensors.insert("units.9.bias".into(), data);
    });
    assert_eq!(left_over.to_string(), "the weight `units.9.bias` does not belong to the network");
}

#[test]
fn a_safetensors_file_is_read_as_written() {
    for trained in networks() {
        let file = to_safetensors(&trained).unwrap();
        let read = from_safetensors(&file).unwrap();
        assert_eq!(read.images, trained.images);
        assert_eq!((read.step, read.net.name()), (7, trained.net.name()));
        assert_eq!(read.weights.cuts(), trained.weights.cuts());
        assert_eq!(read.weights.tensors(), trained.weights.tensors());
        assert_eq!(read.metadata(), trained.metadata());
        assert!(file == to_safetensors(&read).unwrap(), "the same content is the same file");
        let built = PararealNetwork::build(&read.net, read.weights.cuts(), &init(2, DType::F32));
        assert!(built.unwrap().load(&read.weights).is_ok());
    }
}

/// Replaces a text in the header of a file by one of the same length.
fn altered(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let position = file.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    let mut file = file.to_vec();
    file[position..][..to.len()].copy_from_slice(to.as_bytes());
    file
}

#[test]
fn metadata_that_do_not_fit_are_refused() {
    let file = to_safetensors(&network("resnet-20", 32, 3, UnitKind::Basic.into())).unwrap();
    for (from, to, message) in [
        (r#""width":"4""#, r#""width":"0""#, "invalid value `0` of `width`"),
        (
            r#""network":"resnet-20""#,
            r#""network":"resnet-21""#,
            "invalid value `resnet-21` of `network`",
        ),
        (r#""cuts":"[2,4]""#, r#""cuts":"[4,2]""#, "invalid value `[4,2]` of `cuts`"),
        (r#""step":"7""#, r#""step":"-""#, "invalid value"),
        ("parareal-version", "parareal-vermin_", "no metadata of parareal"),
        (r#""classes":"3""#, r#""classes":"4""#, "invalid value `4` of `classes`"),
        (r#""padding":"#, r#""paddock":"#, "the metadata of the file have no `padding`"),
    ] {
        let error = from_safetensors(&altered(&file, from, to)).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
    let serial = to_safetensors(&network("resnet-20", 32, 1, CoarseKind::Auto)).unwrap();
    let wide = altered(&serial, r#""width":"4""#, r#""width":"9""#);
    assert!(matches!(from_safetensors(&wide), Err(ImportError::TooFew { .. })));
    for cut in [0, 7, 40, file.len() - 1] {
        assert!(matches!(from_safetensors(&file[..cut]), Err(ImportError::Format(_))));
    }
}

#[test]
fn half_precision_is_converted() {
    let file = |dtype, bytes: &[u8]| {
        let view = TensorView::new(dtype, vec![2], bytes).unwrap();
        safetensors::serialize([("bn.weight", view)], None).unwrap()
    };
    // 1.5 and -2.
    let expected = TensorData::from([1.5f32, -2.0]);
    for (dtype, bytes) in [(Dtype::F16, [0, 0x3e, 0, 0xc0]), (Dtype::BF16, [0xc0, 0x3f, 0, 0xc0])] {
        assert_eq!(read_tensors(&file(dtype, &bytes)).unwrap()["bn.weight"], expected);
    }
    let error = read_tensors(&file(Dtype::F64, &[0; 16])).unwrap_err().to_string();
    assert_eq!(error, "the tensor `bn.weight` has the type F64, expected F32, F16 or BF16");
    assert!(read_tensors(&file(Dtype::I64, &[0; 16])).is_err());
}

#[test]
fn a_python_module_has_the_classes_and_the_modules_of_its_network() {
    for trained in networks() {
        let module = to_pytorch(&trained).unwrap();
        let TrainedNetwork { net, weights, .. } = &trained;
        let lines: Vec<_> = module.lines().collect();
        let cuts = format!("CUTS = {:?}", weights.cuts().positions()).replace(", ", ",");
        for part in [
            &*cuts,
            "def load(weights=WEIGHTS):",
            "CLASS_NAMES = [\"cat\",\"dog \\\"x\\\"\",\"Übung\"]",
        ] {
            assert!(lines.contains(&part), "{}: {part}", net.name());
        }
        // Each class that a module names is there once.
        for line in lines.iter().filter(|line| line.starts_with("POSTPROCESSING")) {
            let (_, class) = line.split_once('(').unwrap();
            let class = format!("class {}(nn.Module):", class.split(',').next().unwrap());
            assert_eq!(lines.iter().filter(|line| **line == class).count(), 1, "{class}");
        }
    }
}

#[test]
fn the_parameters_of_a_cut_network_are_counted() {
    for TrainedNetwork { net, weights, .. } in networks() {
        let built = PararealNetwork::build(&net, weights.cuts(), &init(1, DType::F32)).unwrap();
        assert_eq!(net.cut_parameters(weights.cuts()), built.parameters(), "{}", net.name());
    }
}
