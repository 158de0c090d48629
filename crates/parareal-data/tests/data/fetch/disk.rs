//! Fetching to a disk that has existing files or no space.

use std::fs;

use parareal_data::fetch::{FetchError, FetchEvent, Job, fetch_files};

use super::{LEN, Place, contents, options};
use parareal_testing::server::Answer;

#[test]
fn an_existing_wrong_file_is_left_unchanged() {
    for (other, found) in [
        (contents()[1..].to_vec(), "99999 bytes instead of 100000"),
        (vec![7; LEN], "MD5 sum"),
        (vec![], "0 bytes"),
    ] {
        let place = Place::new(|_, _| Answer::whole(&contents()));
        fs::write(place.path(), &other).unwrap();
        let error = place.fetch().unwrap_err();
        assert!(matches!(error, FetchError::NotCanonical { .. }) && error.is_bad_input());
        let text = error.to_string();
        assert!(text.contains(found) && text.contains("move or delete it"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert!(fs::read(place.path()).unwrap() == other);
        assert_eq!(place.server.froms(), []);
        assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 1);
    }
    let place = Place::new(|_, _| Answer::whole(&contents()));
    fs::create_dir(place.path()).unwrap();
    assert!(place.fetch().unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn nothing_is_written_where_all_files_exist() {
    let place = Place::new(|_, _| Answer::status("404 Not Found"));
    fs::write(place.path(), contents()).unwrap();
    assert_eq!(place.fetch().unwrap()[0].address, None);
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 1);
}

#[test]
fn a_second_fetch_at_the_same_time_is_refused() {
    let place = Place::new(|_, _| Answer::whole(&contents()));
    let mut second = None;
    let mut events = |event: FetchEvent<'_>| {
        if let FetchEvent::Started { .. } = event {
            second = Some(place.fetch());
        }
    };
    place.fetch_with(options(), &|| false, &mut events).unwrap();
    let error = second.unwrap().unwrap_err();
    assert!(matches!(error, FetchError::Busy { .. }) && error.is_bad_input(), "{error}");
    assert_eq!(place.server.froms(), [None]);
    assert!(fs::read(place.path()).unwrap() == contents());
}

#[test]
fn a_folder_that_cannot_be_created_is_named() {
    let place = Place::new(|_, _| Answer::whole(&contents()));
    fs::write(place.path(), contents()).unwrap();
    let folder = place.path().join("below");
    let mut job = Job { options: options(), stop: &|| false, events: &mut |_| {} };
    let error = fetch_files(&[place.file()], &folder, &mut job).unwrap_err();
    assert!(matches!(error, FetchError::File { action: "create", .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("thing.bin") && text.lines().count() == 1, "{text}");
    assert_eq!(place.server.froms(), []);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_in_one_line() {
    let place = Place::new(|_, _| Answer::whole(&contents()));
    let part = place.folder.path().join("thing.bin.part");
    std::os::unix::fs::symlink("/dev/full", part).unwrap();
    let error = place.fetch().unwrap_err();
    assert!(matches!(error, FetchError::File { action: "write", .. }) && !error.is_bad_input());
    let text = error.to_string();
    assert!(text.contains("thing.bin.part: No space left"), "{text}");
    assert_eq!(text.lines().count(), 1);
    assert_eq!(place.server.froms(), [None]);
    assert!(!place.path().exists());
}
