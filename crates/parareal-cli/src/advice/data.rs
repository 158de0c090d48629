//! Advice about data sets and their files.

use parareal_data::fetch::{DownloadFault, FetchError};
use parareal_data::{DataError, FileFault};

/// Returns advice for an error of loading images.
pub(crate) fn of_data(error: &DataError) -> Option<String> {
    match error {
        DataError::NoDataDir { dataset, .. } if dataset.is_published() => Some(format!(
            "pass --data-dir DIR, or download the files with `parareal data fetch {dataset} --data-dir DIR`"
        )),
        DataError::NoDataDir { .. } => Some("pass --data-dir DIR".to_owned()),
        DataError::File(error) if error.fault == FileFault::Missing => Some(
            "choose another folder with --data-dir, or download the files with `parareal data fetch NAME`"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Returns advice for an error of fetching files.
pub(crate) fn of_fetch(error: &FetchError) -> Option<String> {
    let FetchError::Download { name, fault, kept, .. } = error else { return None };
    let advice = match fault {
        _ if *kept > 0 => "run the same command again to continue from there".to_owned(),
        DownloadFault::Checksum { .. } | DownloadFault::TooLarge { .. } => {
            "try again, or pass another address with --from URL".to_owned()
        }
        fault if fault.is_transient() => {
            "try again later, or pass another address with --from URL".to_owned()
        }
        _ => format!("pass the address of a folder with {name} with --from URL"),
    };
    Some(advice)
}

#[cfg(test)]
mod tests {
    use parareal_data::{Dataset, DatasetName, LoadOptions};

    use super::*;

    #[test]
    fn a_missing_data_folder_is_answered_with_the_command_that_fills_it() {
        for name in DatasetName::ALL {
            let Err(error) = Dataset::load(name, &LoadOptions::default()) else { continue };
            let advice = of_data(&error).unwrap();
            assert!(advice.contains("--data-dir DIR"), "{advice}");
            let fetch = format!("parareal data fetch {name} ");
            assert_eq!(advice.contains(&fetch), name.is_published(), "{advice}");
        }
    }

    #[test]
    fn a_failed_download_is_retried_continued_or_taken_from_another_address() {
        let checksum = DownloadFault::Checksum { found: "a".into(), published: "b".into() };
        let status = |code| DownloadFault::Status { code, reason: String::new() };
        for (fault, kept, expected) in [
            (status(503), 7, "the same command"),
            (status(503), 0, "try again later"),
            (status(404), 0, "a folder with a.gz with --from"),
            (checksum, 0, "try again, or"),
        ] {
            let (name, address) = ("a.gz".to_owned(), "http://h/a.gz".to_owned());
            let error = FetchError::Download { name, address, fault, kept, bytes: 9 };
            let advice = of_fetch(&error).unwrap();
            assert!(advice.contains(expected), "{advice}");
        }
    }
}
