//! `export`: writes the weights of a run for other programs.

use std::path::Path;

use parareal_train::{Format, OutputFile};
use parareal_vision::{ExportFormat, ExportSource, OnnxInput, export, export_pytorch, weight_file};

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
    let run = arguments.run.clone().into_path();
    let weights = weight_file(&run);
    let source = source(&arguments, &run, weights.as_deref())?;
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
        exported.notes.iter().for_each(|text| note(&format!("note: {text}")));
    }
    Ok(Ending::Done)
}

/// Height and width of the images of torchvision's and timm's networks.
const PRETRAINED_IMAGE_SIZE: usize = 224;

/// Returns the weights that the flags name: those of a run, or of a file with or without a network.
fn source<'a>(
    arguments: &Export,
    run: &'a Path,
    file: Option<&'a Path>,
) -> Result<ExportSource<'a>, Failure> {
    let Export { checkpoint, network, image_size, .. } = arguments;
    let wrong = |flag: &str, what: &str| Failure::Flag(format!("{flag} is for {what}"));
    match (file, *network) {
        (Some(_), _) if checkpoint.is_some() => Err(wrong("--checkpoint", "the folder of a run")),
        (Some(path), Some(network)) => Ok(ExportSource::Pretrained {
            path,
            network,
            image_size: image_size.unwrap_or(PRETRAINED_IMAGE_SIZE),
        }),
        (None, Some(_)) => Err(wrong("--network", "a file of torchvision or timm")),
        (_, None) if image_size.is_some() => {
            Err(wrong("--image-size", "a file of torchvision or timm, with --network"))
        }
        (Some(path), None) => Ok(ExportSource::File(path)),
        (None, None) => {
            let which = checkpoint.as_deref().unwrap_or("latest").parse()?;
            Ok(ExportSource::Run(run, which))
        }
    }
}
