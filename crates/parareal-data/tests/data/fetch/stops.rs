//! Requests to stop during a download.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parareal_data::fetch::{FetchError, FetchEvent, FetchOptions};

use super::{LEN, Place, contents, options};
use parareal_testing::server::Answer;

/// Requests a stop at the first event for which `when` is true. Returns the number of bytes kept.
fn stop_at(place: &Place, options: FetchOptions, when: fn(&FetchEvent<'_>) -> bool) -> u64 {
    let asked = AtomicBool::new(false);
    let stop = || asked.load(Ordering::Relaxed);
    let mut events = |event: FetchEvent<'_>| {
        if when(&event) {
            asked.store(true, Ordering::Relaxed);
        }
    };
    let error = place.fetch_with(options, &stop, &mut events).unwrap_err();
    let FetchError::Interrupted { kept, bytes, .. } = error else { panic!("{error}") };
    assert_eq!(bytes, LEN as u64);
    assert!(!error.is_bad_input() && !place.path().exists());
    assert_eq!(kept, place.part().map_or(0, |part| part.len() as u64));
    kept
}

#[test]
fn a_stop_during_a_download_keeps_its_bytes() {
    let place = Place::new(|_, request| Answer::good(request, &contents()));
    let kept = stop_at(&place, options(), |event| matches!(event, FetchEvent::Bytes { .. }));
    assert!(kept > 0);
    // All bytes may have arrived before the stop.
    let expected = if kept < LEN as u64 { vec![None, Some(kept as usize)] } else { vec![None] };
    assert_eq!(place.assert_fetched(), expected);
}

#[test]
fn a_stop_during_a_stall_does_not_wait() {
    // If the download waited for the server, the error would be a stall and not an interruption.
    let place = Place::new(|_, _| Answer::whole(&contents()).cut(10).then_stall());
    let kept = stop_at(&place, options(), |event| matches!(event, FetchEvent::Started { .. }));
    assert!(kept <= 10);
    assert_eq!(place.server.froms(), [None]);
}

#[test]
fn a_stop_during_a_pause_does_not_wait() {
    let place = Place::new(|_, _| Answer::status("503 Service Unavailable"));
    let options = FetchOptions { pause: Duration::from_secs(3_600), ..options() };
    assert_eq!(stop_at(&place, options, |event| matches!(event, FetchEvent::Retry { .. })), 0);
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 1, "nothing but the lock");
}
