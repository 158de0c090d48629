//! Fetching from servers with valid, invalid and missing responses.

use std::sync::Mutex;
use std::time::Duration;

use parareal_data::fetch::{DownloadFault, FetchError, FetchEvent, FetchOptions, Job, fetch_files};

use super::{LEN, Place, contents, options};
use parareal_testing::server::Answer;

#[test]
fn a_complete_file_is_not_fetched_again() {
    let place = Place::new(|_, _| Answer::whole(&contents()));
    assert_eq!(place.assert_fetched(), [None]);
    assert_eq!(place.server.requests()[0].path, "/a/thing.bin");
    let fetched = place.fetch().unwrap();
    assert_eq!(fetched[0].address, None);
    assert_eq!(place.server.requests().len(), 1);
}

#[test]
fn a_broken_download_continues_where_it_ended() {
    let place = Place::new(|number, request| match number {
        0 => Answer::whole(&contents()).cut(40_000),
        1 => Answer::good(request, &contents()).cut(20_000),
        _ => Answer::good(request, &contents()),
    });
    assert_eq!(place.assert_fetched(), [None, Some(40_000), Some(60_000)]);
}

#[test]
fn a_broken_download_without_a_length_continues_where_it_ended() {
    let place = Place::new(|number, request| match number {
        0 => Answer::new("200 OK", "", &contents()[..123]),
        _ => Answer::good(request, &contents()),
    });
    assert_eq!(place.assert_fetched(), [None, Some(123)]);
}

#[test]
fn a_download_that_breaks_many_times_continues_while_bytes_come() {
    let place = Place::new(|_, request| Answer::good(request, &contents()).cut(5_000));
    assert_eq!(place.assert_fetched().len(), 20);
}

#[test]
fn a_download_that_breaks_too_often_keeps_its_bytes() {
    let place = Place::new(|number, request| match number {
        0 => Answer::good(request, &contents()).cut(30_000),
        1..3 => Answer::good(request, &contents()).cut(10),
        _ => Answer::good(request, &contents()),
    });
    let fault = place.assert_failed(30_020);
    assert!(matches!(fault, DownloadFault::BrokenOff { .. }), "{fault}");
    assert_eq!(place.assert_fetched(), [None, Some(30_000), Some(30_010), Some(30_020)]);
}

#[test]
fn a_complete_partial_file_needs_no_request_and_a_longer_one_is_deleted() {
    let place = Place::new(|_, request| Answer::good(request, &contents()));
    place.leave_part(&contents());
    assert_eq!(place.assert_fetched(), []);

    let place = Place::new(|_, request| Answer::good(request, &contents()));
    place.leave_part(&[contents(), vec![0]].concat());
    assert_eq!(place.assert_fetched(), [None]);
}

#[test]
fn a_server_without_ranges_sends_the_whole_file_again() {
    let place = Place::new(|_, _| Answer::whole(&contents()));
    place.leave_part(&contents()[..70_000]);
    assert_eq!(place.assert_fetched(), [Some(70_000)]);
}

#[test]
fn a_range_that_was_not_requested_is_refused() {
    for other in [
        |bytes: &[u8]| Answer::rest(60_000, 60_000, bytes),
        |bytes: &[u8]| Answer::rest(60_000, 70_000, bytes),
        |bytes: &[u8]| Answer::new("206 Partial Content", "", bytes),
        |bytes: &[u8]| Answer::new("206 Partial Content", "Content-Range: bytes x-y/z\r\n", bytes),
    ] {
        let place = Place::new(move |number, request| match number {
            0 => other(&contents()),
            _ => Answer::good(request, &contents()),
        });
        place.leave_part(&contents()[..70_000]);
        assert_eq!(place.assert_fetched(), [Some(70_000), None]);
    }
}

#[test]
fn a_server_that_always_sends_another_range_is_given_up() {
    let place = Place::new(|_, request| match request.from {
        Some(_) => Answer::rest(0, 0, &contents()),
        None => Answer::whole(&contents()).cut(50_000),
    });
    let fault = place.assert_failed(50_000);
    assert!(matches!(fault, DownloadFault::BrokenOff { .. }), "{fault}");
}

#[test]
fn an_unsatisfiable_range_is_fetched_from_the_start() {
    let place = Place::new(|_, request| match request.from {
        Some(_) => Answer::status("416 Range Not Satisfiable"),
        None => Answer::whole(&contents()),
    });
    place.leave_part(&contents()[..70_000]);
    assert_eq!(place.assert_fetched(), [Some(70_000), None]);
}

#[test]
fn a_file_with_wrong_bytes_is_deleted() {
    let mut wrong = contents();
    wrong[LEN / 2] ^= 1;
    let place = Place::new(move |_, _| Answer::whole(&wrong));
    let fault = place.assert_failed(0);
    assert!(matches!(fault, DownloadFault::Checksum { .. }), "{fault}");
    assert_eq!(place.server.froms(), [None]);
}

#[test]
fn a_partial_file_of_another_file_is_replaced() {
    let place = Place::new(|_, request| Answer::good(request, &contents()));
    place.leave_part(&[7; 1_000]);
    let anew = Mutex::new(0);
    let mut events = |event: FetchEvent<'_>| {
        *anew.lock().unwrap() += i32::from(matches!(event, FetchEvent::Restarted { .. }));
    };
    place.fetch_with(options(), &|| false, &mut events).unwrap();
    assert_eq!(*anew.lock().unwrap(), 1);
    assert_eq!(place.server.froms(), [Some(1_000), None]);
    assert!(std::fs::read(place.path()).unwrap() == contents());
}

#[test]
fn redirects_are_followed_up_to_a_limit() {
    let place = Place::new(|_, request| match &*request.path {
        "/a/thing.bin" => Answer::redirect("/b/thing.bin"),
        "/b/thing.bin" => Answer::redirect("c"),
        path => {
            assert_eq!(path, "/b/c");
            Answer::good(request, &contents())
        }
    });
    place.leave_part(&contents()[..9]);
    assert_eq!(place.assert_fetched().last(), Some(&Some(9)));

    let place = Place::new(|_, _| Answer::redirect("/a/thing.bin"));
    assert_eq!(place.assert_failed(0), DownloadFault::Redirects { max: 3 });
    assert!(place.server.requests().len() <= 4);
}

#[test]
fn a_missing_file_is_not_requested_again() {
    for status in ["404 Not Found", "403 Forbidden", "401 Unauthorized", "204 No Content"] {
        let place = Place::new(move |_, _| Answer::status(status));
        let fault = place.assert_failed(0);
        assert_eq!(fault.to_string(), format!("the server responded {status}"));
        assert_eq!(place.server.froms(), [None]);
    }
}

#[test]
fn a_busy_server_is_requested_again() {
    for status in ["503 Service Unavailable", "429 Too Many Requests", "500 Internal Server Error"]
    {
        let place = Place::new(move |number, request| match number {
            0..2 => Answer::status(status),
            _ => Answer::good(request, &contents()),
        });
        assert_eq!(place.assert_fetched().len(), 3);
        let place = Place::new(move |_, _| Answer::status(status));
        let fault = place.assert_failed(0);
        assert!(matches!(fault, DownloadFault::Status { .. }), "{fault}");
        assert_eq!(place.server.requests().len(), 3);
    }
}

#[test]
fn a_stalled_download_continues_where_it_ended() {
    let quick = || FetchOptions { stall_timeout: Duration::from_millis(50), ..options() };
    let place = Place::new(|number, request| match number {
        0 => Answer::whole(&contents()).cut(40_000).then_stall(),
        _ => Answer::good(request, &contents()),
    });
    let mut faults = Vec::new();
    let mut events = |event: FetchEvent<'_>| {
        if let FetchEvent::Retry { fault, .. } = event {
            faults.push(fault.clone());
        }
    };
    place.fetch_with(quick(), &|| false, &mut events).unwrap();
    assert_eq!(faults, [DownloadFault::Stalled { after: Duration::from_millis(50) }]);
    assert_eq!(place.server.froms(), [None, Some(40_000)]);

    // The server never sends the first byte of a response.
    let place = Place::new(|_, _| Answer::raw(&[]).then_stall());
    let error = place.fetch_with(quick(), &|| false, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("no data received for 0.1 s"), "{error}");
    assert_eq!(place.server.requests().len(), 3);
}

#[test]
fn another_size_is_refused_before_the_download() {
    for len in [LEN + 1, LEN - 1, 0] {
        let mut other = contents();
        other.resize(len, 0);
        let place = Place::new(move |_, _| Answer::whole(&other));
        let fault = place.assert_failed(0);
        assert_eq!(fault, DownloadFault::Size { found: len as u64, expected: LEN as u64 });
        assert_eq!(place.server.froms(), [None]);
    }
    let mut other = contents();
    other.push(0);
    let place = Place::new(move |_, request| Answer::good(request, &other));
    place.leave_part(&contents()[..50]);
    let fault = place.assert_failed(50);
    assert!(matches!(fault, DownloadFault::Size { .. }), "{fault}");
}

#[test]
fn bytes_after_the_end_are_refused() {
    // Without a length header, excess bytes are detected only when they arrive: one byte, or many.
    for more in [1, 10 * LEN] {
        let place = Place::new(move |_, _| {
            Answer::new("200 OK", "", &[contents(), vec![0; more]].concat())
        });
        assert_eq!(place.assert_failed(0), DownloadFault::TooLarge { expected: LEN as u64 });
    }
}

#[test]
fn an_answer_that_is_not_http_is_refused() {
    let place = Place::new(|_, _| Answer::raw(b"220 mail.example ESMTP\r\n\r\n"));
    let fault = place.assert_failed(0);
    assert!(matches!(fault, DownloadFault::Protocol { .. }), "{fault}");
}

#[test]
fn an_https_address_is_never_requested_over_http() {
    let place = Place::new(|_, request| Answer::good(request, &contents()));
    let mut file = place.file();
    file.addresses = vec![place.server.url("thing.bin").replace("http://", "https://")];
    let mut job = Job { options: options(), stop: &|| false, events: &mut |_| {} };
    let error = fetch_files(&[file], place.folder.path(), &mut job).unwrap_err();
    let FetchError::Download { fault, .. } = &error else { panic!("{error}") };
    assert!(matches!(fault, DownloadFault::Tls { .. }), "{error}");
    assert_eq!((place.server.requests(), place.part()), (vec![], None));
}

#[test]
fn an_unreachable_server_is_tried_again_and_reported() {
    let place = Place::new(|_, _| Answer::status("404 Not Found"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut file = place.file();
    file.addresses = vec![format!("http://{closed}/thing.bin")];
    let mut again = 0;
    let mut events = |event: FetchEvent<'_>| {
        again += i32::from(matches!(event, FetchEvent::Retry { .. }));
    };
    let mut job = Job { options: options(), stop: &|| false, events: &mut events };
    let error = fetch_files(&[file], place.folder.path(), &mut job).unwrap_err();
    assert!(error.to_string().contains("cannot connect ("), "{error}");
    assert_eq!((again, place.part()), (2, None));
}

#[test]
fn the_next_address_continues_where_one_fails() {
    let place = Place::new(|number, request| match (number, &*request.path) {
        (0, "/a/thing.bin") => Answer::whole(&contents()).cut(30_000),
        (_, "/a/thing.bin") => Answer::status("404 Not Found"),
        _ => Answer::good(request, &contents()),
    });
    let mut file = place.file();
    file.addresses.push(place.server.url("b/thing.bin"));
    let second = file.addresses[1].clone();
    let mut elsewhere = Vec::new();
    let mut events = |event: FetchEvent<'_>| {
        if let FetchEvent::NextAddress { address, .. } = event {
            elsewhere.push(address.to_owned());
        }
    };
    let mut job = Job { options: options(), stop: &|| false, events: &mut events };
    let fetched = fetch_files(&[file], place.folder.path(), &mut job).unwrap();
    assert_eq!(fetched[0].address.as_ref(), Some(&second));
    assert_eq!(elsewhere, [second]);
    assert_eq!(place.server.froms(), [None, Some(30_000), Some(30_000)]);
}
