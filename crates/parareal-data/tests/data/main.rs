//! Reading, inspecting and fetching data sets.

mod fetch;
mod files;
mod folder;
mod image_files;
mod jpeg_files;
mod mnist_files;
mod real_images;
mod shapes;
mod streamed_folder;
