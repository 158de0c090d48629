//! Single image files: intact, truncated, damaged, too large, and resized to the input of a
//! network.

use std::fs;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma, Rgb, RgbImage};
use parareal_data::Preprocessing;

/// The size of the images in `fixtures/jpeg`, so that they are not resized.
const AS_STORED: Preprocessing = Preprocessing { channels: 3, height: 27, width: 40, padding: 0 };

fn read(file: &Path, bytes: &[u8], preprocessing: Preprocessing) -> Result<Vec<u8>, String> {
    fs::write(file, bytes).unwrap();
    preprocessing.read(file).map_err(|error| {
        let message = error.to_string();
        assert!(message.contains(" as a PNG or JPEG image: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    })
}

fn colors() -> RgbImage {
    RgbImage::from_fn(40, 27, |x, y| Rgb([(x * 6) as u8, (y * 10) as u8, (x * y) as u8]))
}

/// Creates a file of each kind, and returns it with its name.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("x.png");
    colors().save(&png).unwrap();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 60).encode_image(&colors()).unwrap();
    let fixture = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg").join(name))
            .unwrap()
    };
    vec![
        ("png", fs::read(png).unwrap()),
        ("baseline", jpeg),
        ("progressive", fixture("progressive.jpg")),
        ("restarts", fixture("restarts.jpg")),
    ]
}

#[test]
fn a_file_truncated_anywhere_is_refused_or_shows_the_whole_image() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    for (name, bytes) in files() {
        let whole = read(&file, &bytes, AS_STORED).unwrap();
        for length in 0..bytes.len() {
            let mut zeros = bytes[..length].to_vec();
            zeros.resize(bytes.len(), 0);
            let zeros = (length % 8 == 0).then_some(&zeros[..]);
            for cut in [Some(&bytes[..length]), zeros].into_iter().flatten() {
                match read(&file, cut, AS_STORED) {
                    Ok(pixels) => assert!(pixels == whole, "{name} with {length} bytes"),
                    Err(message) if length > 30 => {
                        assert!(
                            message.contains("truncated") || message.contains("checksum"),
                            "{message}"
                        );
                    }
                    Err(_) => {}
                }
            }
        }
        // Bytes after the end of the image are ignored.
        assert_eq!(read(&file, &[&bytes[..], b"more"].concat(), AS_STORED).unwrap(), whole);
    }
}

#[test]
fn a_png_with_damage_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    let (_, bytes) = files().swap_remove(0);
    let whole = read(&file, &bytes, AS_STORED).unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        if let Ok(pixels) = read(&file, &damaged, AS_STORED) {
            assert!(pixels == whole, "byte {place}");
        }
    }
}

#[test]
fn other_files_and_sizes_are_refused_with_the_expected_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    for (bytes, expected) in [
        (&b""[..], "the file is empty"),
        (b"no image", "its first bytes are those of another file type"),
        (b"GIF89a\x01\0\x01\0", "its first bytes are those of another file type"),
        (b"\xff\xd8\xff\xd9", "it ends before the last scan"),
    ] {
        let message = read(&file, bytes, AS_STORED).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    let wide = folder.path().join("wide.png");
    GrayImage::new(20_001, 2).save(&wide).unwrap();
    let message = AS_STORED.read(&wide).unwrap_err().to_string();
    assert!(message.contains("it has 20001 x 2 pixels, more than the limit of 20000"), "{message}");
}

#[test]
fn an_image_gets_the_border_unless_it_has_the_size_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mnist = Preprocessing { channels: 1, height: 32, width: 32, padding: 2 };
    let read = |name: &str, image: &GrayImage| {
        let path = folder.path().join(name);
        image.save(&path).unwrap();
        mnist.read(&path).unwrap()
    };
    let digit = GrayImage::from_fn(28, 28, |x, y| Luma([((x * 9) ^ (y * 7)) as u8]));
    let framed = GrayImage::from_fn(32, 32, |x, y| {
        let inside = (2..30).contains(&x) && (2..30).contains(&y);
        if inside { *digit.get_pixel(x - 2, y - 2) } else { Luma([0]) }
    });
    assert_eq!(read("stored.png", &digit), framed.as_raw().clone());
    assert_eq!(read("framed.png", &framed), framed.as_raw().clone());
    // Any other image is resized to the size inside the border.
    let scaled = read("large.png", &GrayImage::from_pixel(300, 100, Luma([200])));
    for (place, &pixel) in scaled.iter().enumerate() {
        let inside = (2..30).contains(&(place / 32)) && (2..30).contains(&(place % 32));
        assert_eq!(pixel, if inside { 200 } else { 0 });
    }
}
