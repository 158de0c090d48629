//! `export`: writes the weights of a run for other programs.

use std::path::Path;

use parareal_train::{Format, OutputFile};
use parareal_vision::{
    DEFAULT_IMAGE_SIZE, ExportFormat, ExportSource, OnnxInput, export, export_pytorch,
    is_weight_file,
};

use crate::arguments::{Export, ExportFormatName};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{amount, count, note, result};

pub(crate) fn run(arguments: Export) -> Result<Ending, Failure> {
    if arguments.normalize && arguments.format != ExportFormatName::Onnx {
        let message = "--normalize requires --format onnx: no other format has operations";
        return Err(Failure::Flag(message.into()));
    }
    let (path, overwrite) = (&arguments.output, arguments.overwrite);
    let weights = arguments.run.clone().into_path();
    let source = source(&arguments, &weights)?;
    let file = |format| OutputFile::new(path, &[format], overwrite);
    let exported = match arguments.format {
        ExportFormatName::Safetensors => {
            export(source, ExportFormat::Safetensors, &file(Format::Safetensors)?)?
        }
        ExportFormatName::Pytorch => export_pytorch(source, path, overwrite)?,
        ExportFormatName::Onnx => {
            let input = match arguments.normalize {
                true => OnnxInput::Unnormalized,
                false => OnnxInput::Normalized,
            };
            export(source, ExportFormat::Onnx(input), &file(Format::Onnx)?)?
        }
    };
    if arguments.json {
        result(&serde_json::to_string(&exported).expect("numbers and names are JSON"))?;
    } else {
        note(&format!(
            "wrote {} of step {} to {} ({}B)",
            count(exported.tensors, "tensor"),
            exported.step,
            exported.path.display(),
            amount(exported.bytes),
        ));
    }
    Ok(Ending::Done)
}

/// Returns the weights that the flags name: a run, or a file with or without a network.
fn source<'a>(arguments: &Export, weights: &'a Path) -> Result<ExportSource<'a>, Failure> {
    let Export { checkpoint, network, image_size, .. } = arguments;
    let wrong = |flag: &str, what: &str| Failure::Flag(format!("{flag} is for {what}"));
    match (is_weight_file(weights), network) {
        (true, _) if checkpoint.is_some() => Err(wrong("--checkpoint", "the folder of a run")),
        (true, &Some(network)) => Ok(ExportSource::Pretrained {
            path: weights,
            network,
            image_size: image_size.unwrap_or(DEFAULT_IMAGE_SIZE),
        }),
        (false, Some(_)) => Err(wrong("--network", "a file of torchvision or timm")),
        (_, None) if image_size.is_some() => {
            Err(wrong("--image-size", "a file of torchvision or timm, with --network"))
        }
        (true, None) => Ok(ExportSource::File(weights)),
        (false, None) => {
            let which = checkpoint.as_deref().unwrap_or("latest").parse()?;
            Ok(ExportSource::Run(weights, which))
        }
    }
}
