//! Saved weights: one file for each subnetwork, and a manifest.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use parareal::net::NamedTensor;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{Settings, TrainError};

const FORMAT_VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// Saved states that are kept.
const KEPT: usize = 2;

/// What the folder of saved weights says about itself.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format_version: u32,
    step: usize,
    epoch: usize,
    configuration: Settings,
    files: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    subnetwork: usize,
    name: String,
    bytes: u64,
    tensors: usize,
}

/// The folder `checkpoints` of a run, and what belongs where in it.
pub(crate) struct Store {
    folder: PathBuf,
    configuration: Settings,
    /// For each subnetwork the names of its tensors.
    names: Vec<Vec<String>>,
}

/// Weights that were read.
pub(crate) struct Saved {
    pub(crate) step: usize,
    pub(crate) epoch: usize,
    pub(crate) tensors: HashMap<String, TensorData>,
}

impl Store {
    pub(crate) fn new(run: &Path, configuration: Settings, names: Vec<Vec<String>>) -> Self {
        Self { folder: folder_of(run), configuration, names }
    }

    /// Saves the weights behind a step. They are complete, or not there at all.
    pub(crate) fn save(
        &self,
        epoch: usize,
        step: usize,
        tensors: Vec<NamedTensor>,
    ) -> Result<(), TrainError> {
        let name = format!("step-{step:08}");
        let (target, partial) = (self.folder.join(&name), self.folder.join(format!(".{name}")));
        fs::create_dir_all(&partial).map_err(TrainError::file("create", &partial))?;
        let by_name: HashMap<_, _> =
            tensors.into_iter().map(|tensor| (tensor.name, tensor.data)).collect();
        let mut files = Vec::new();
        for (index, names) in self.names.iter().enumerate() {
            let name = format!("subnetwork-{:02}.weights.safetensors", index + 1);
            let path = partial.join(&name);
            let bytes =
                encode(names, &by_name).map_err(|error| TrainError::weights(&path, error))?;
            write_synced(&path, &bytes)?;
            let (bytes, tensors) = (bytes.len() as u64, names.len());
            files.push(Entry { subnetwork: index + 1, name, bytes, tensors });
        }
        let configuration = self.configuration.clone();
        let manifest =
            Manifest { format_version: FORMAT_VERSION, step, epoch, configuration, files };
        let text = serde_json::to_vec_pretty(&manifest).expect("numbers and names are JSON");
        write_synced(&partial.join(MANIFEST), &text)?;
        sync_folder(&partial)?;
        fs::rename(&partial, &target).map_err(TrainError::file("create", &target))?;
        sync_folder(&self.folder)?;
        self.remove_old()
    }

    fn remove_old(&self) -> Result<(), TrainError> {
        let steps = list(&self.folder)?;
        let old = steps.len().saturating_sub(KEPT);
        for (_, path) in &steps[..old] {
            fs::remove_dir_all(path).map_err(TrainError::file("remove", path))?;
        }
        Ok(())
    }
}

/// Reads the latest weights of a run.
pub(crate) fn latest(run: &Path) -> Result<Saved, TrainError> {
    let Some((_, folder)) = list(&folder_of(run))?.pop() else {
        let message = "no weights were saved in it".into();
        return Err(TrainError::NoRun { path: run.to_path_buf(), message });
    };
    let path = folder.join(MANIFEST);
    let text = fs::read(&path).map_err(|error| damaged(&path, &error))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| damaged(&path, &error))?;
    if manifest.format_version != FORMAT_VERSION {
        let found = manifest.format_version;
        let message = format!("format {found} is not known, this program reads {FORMAT_VERSION}");
        return Err(TrainError::weights(&path, message));
    }
    let mut tensors = HashMap::new();
    for entry in &manifest.files {
        let path = folder.join(&entry.name);
        let bytes = fs::read(&path).map_err(|error| damaged(&path, &error))?;
        if bytes.len() as u64 != entry.bytes {
            let (found, expected) = (bytes.len(), entry.bytes);
            let message = format!("it has {found} bytes, {expected} were written: it is damaged");
            return Err(TrainError::weights(&path, message));
        }
        decode(&bytes, &mut tensors).map_err(|error| damaged(&path, &error))?;
    }
    let expected: usize = manifest.files.iter().map(|entry| entry.tensors).sum();
    if tensors.len() != expected {
        let message = format!("{} tensors instead of {expected}: it is damaged", tensors.len());
        return Err(TrainError::weights(&folder, message));
    }
    Ok(Saved { step: manifest.step, epoch: manifest.epoch, tensors })
}

fn folder_of(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// Saved states, oldest first.
fn list(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let mut steps = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder).map_err(TrainError::file("read", folder))? {
            let path = entry.map_err(TrainError::file("read", folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let step = name.and_then(|name| name.strip_prefix("step-")?.parse().ok());
            steps.extend(step.map(|step| (step, path)));
        }
    }
    steps.sort();
    Ok(steps)
}

fn encode(names: &[String], tensors: &HashMap<String, TensorData>) -> Result<Vec<u8>, String> {
    let mut buffers = Vec::with_capacity(names.len());
    for name in names {
        let data = tensors.get(name).ok_or_else(|| format!("the tensor `{name}` is missing"))?;
        let values: Vec<f32> =
            data.clone().convert::<f32>().try_to_vec().map_err(|error| format!("{error:?}"))?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        buffers.push((name, data.shape().as_slice().to_vec(), bytes));
    }
    let views = buffers
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (*name, view))
        })
        .collect::<Result<Vec<_>, _>>();
    let encoded = views.and_then(|views| safetensors::serialize(views, None));
    encoded.map_err(|error| error.to_string())
}

fn decode(bytes: &[u8], tensors: &mut HashMap<String, TensorData>) -> Result<(), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("the tensor `{name}` is {:?}, not F32", view.dtype()));
        }
        let values = view.data().chunks_exact(4);
        let values: Vec<f32> =
            values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        tensors.insert(name.to_string(), TensorData::new(values, view.shape().to_vec()));
    }
    Ok(())
}

fn damaged(path: &Path, error: &impl ToString) -> TrainError {
    TrainError::weights(path, format!("it is missing or damaged: {}", error.to_string()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(TrainError::file("write", path))
}

/// Makes the names in a folder last, where the system can.
fn sync_folder(path: &Path) -> Result<(), TrainError> {
    if cfg!(unix) {
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(TrainError::file("write", path))?;
    }
    Ok(())
}
