//! Files that one rank cannot write or read.

use std::fs;
use std::path::Path;

use crate::launch::on_a_full_disk;
use crate::lives::{Lives, Moment, assert_goes_on, length, newest};

/// Files that cannot grow, as on a full disk.
#[test]
fn a_disk_that_fills_on_any_rank_ends_all_ranks_and_the_run_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut lives = Lives::new(folder.path(), 3, 3, &["--subnetworks", "3"]);
    let running = lives.begin(None);
    assert!(lives.come_to(Moment::Checkpoint), "the run is over");
    let mut step = lives.kill(2, running).expect("the launcher notices").step;
    for rank in 0..3 {
        let death = {
            let running = lives.begin(Some(&on_a_full_disk(rank)));
            assert!(lives.come_to(Moment::Step), "the run is over");
            lives.bury(running)
        };
        let errors = &death.ended.errors;
        assert_eq!(death.ended.code, Some(1), "{errors}");
        let [line] = death.ended.error_lines()[..] else { panic!("{errors}") };
        assert!(line.starts_with(&format!("error: rank {rank}: cannot write ")), "{line}");
        assert!(line.ends_with("File too large (os error 27)"), "{line}");
        assert_goes_on(errors, step);
        // Only earlier checkpoints remain.
        assert_eq!(death.step, step);
        step = death.step;
    }
    lives.finish(step);
}

/// Writes a folder of images by class, in which one file may be damaged.
fn images(folder: &Path, damaged: bool) {
    for class in 0..2 {
        let classes = folder.join(format!("class {class}"));
        fs::create_dir_all(&classes).unwrap();
        for index in 0..60 {
            let pixel = image::Rgb([index * 4, class * 99, 200 - index]);
            let picture = image::RgbImage::from_pixel(32, 32, pixel);
            picture.save(classes.join(format!("{index}.png"))).unwrap();
        }
    }
    if damaged {
        fs::write(folder.join("class 1/7.png"), b"no picture").unwrap();
    }
}

#[test]
fn a_file_damaged_for_one_rank_ends_all_ranks_or_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(&folder.join("whole images"), false);
    images(&folder.join("damaged images"), true);
    let more = ["--subnetworks", "3", "--dataset", "folder", "--data-dir", "whole images"];
    let mut lives = Lives::new(folder, 3, 3, &more);
    let run = lives.run();
    assert_eq!(length(&folder.join("whole")).1, 3);
    let running = lives.begin(None);
    assert!(lives.come_to(Moment::Step) && lives.come_to(Moment::Checkpoint), "the run is over");
    while newest(&run) < 4 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let step = lives.kill(1, running).expect("the launcher notices").step;

    // One rank cannot read its images.
    let from = |folder| ["train", "--resume", "--output", "run", "--data-dir", folder];
    let (good, bad) = (from("whole images"), from("damaged images"));
    for rank in 0..3 {
        let parts: Vec<_> = (0..3).map(|r| (1, if r == rank { &bad[..] } else { &good })).collect();
        let death = lives.bury(lives.launch_parts(&parts, None));
        let errors = &death.ended.errors;
        assert_eq!(death.ended.code, Some(2), "{errors}");
        let [line] = death.ended.error_lines()[..] else { panic!("{errors}") };
        assert!(line.starts_with(&format!("error: rank {rank}: ")), "{line}");
        assert!(line.contains("7.png"), "{line}");
        assert_eq!(death.step, step);
    }

    // One rank cannot read its part of a checkpoint, so all ranks resume from the checkpoint before it.
    let shard = format!("run/checkpoints/step-{step:08}/subnetwork-02.weights.safetensors");
    let mut bytes = fs::read(folder.join(&shard)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(folder.join(&shard), bytes).unwrap();
    let ended = lives.begin(None).wait();
    ended.assert_done();
    assert_goes_on(&ended.errors, step - 2);
    let notes = ended.errors.lines().filter(|line| line.contains("skipped a checkpoint"));
    for note in notes.inspect(|note| assert!(note.starts_with("note: "))) {
        assert!(note.contains("rank 1: ") && note.contains("subnetwork-02"), "{note}");
    }
    assert_eq!(ended.errors.matches("skipped a checkpoint").count(), 2, "{}", ended.errors);
    lives.assert_finished();
}
