//! Comparisons of settings and data between the processes of a group.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::ProcessGroup;
use crate::error::TrainError;

impl ProcessGroup {
    /// Checks that all processes have the same named values.
    ///
    /// # Errors
    /// If a value differs. The error names the first such value ([`TrainError::RanksDiffer`]).
    pub fn compare(&self, own: BTreeMap<String, String>) -> Result<(), TrainError> {
        let found = self.first_difference(own)?;
        found.map_or(Ok(()), |error| Err(self.known_to_all(error)))
    }

    /// Returns the first difference between the named values of the processes. Only a checksum of them is sent if there is
    /// none.
    fn first_difference(
        &self,
        own: BTreeMap<String, String>,
    ) -> Result<Option<TrainError>, TrainError> {
        if self.size() == 1 {
            return Ok(None);
        }
        let text = serde_json::to_vec(&own).expect("text is JSON");
        let checksum = Sha256::digest(text).to_vec();
        let first = self.broadcast(checksum.clone())?;
        if self.count([checksum != first])? == [0] {
            return Ok(None);
        }
        Ok(difference(&self.all_gather::<_, TrainError>(Ok(own))?))
    }

    /// Checks by checksums that all processes have the same data. The keys are the names of the data in messages.
    ///
    /// # Errors
    /// If a checksum differs. The error names the first such data ([`TrainError::RanksData`]).
    pub(crate) fn compare_data(&self, own: BTreeMap<String, String>) -> Result<(), TrainError> {
        match self.first_difference(own)? {
            Some(TrainError::RanksDiffer { name: samples, rank, .. }) => {
                Err(self.known_to_all(TrainError::RanksData { samples, rank }))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the first difference between the values of the processes.
fn difference(values: &[BTreeMap<String, String>]) -> Option<TrainError> {
    let first = values.first()?;
    values.iter().enumerate().find_map(|(rank, other)| {
        let name =
            first.keys().chain(other.keys()).find(|&name| first.get(name) != other.get(name))?;
        let value = |of: &BTreeMap<String, String>| of.get(name).cloned();
        let (name, first, other) = (name.clone(), value(first), value(other));
        Some(TrainError::RanksDiffer { name, first, other, rank })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_with_rank_and_values() {
        let values = |seed: Option<&str>| {
            let values = [("epochs", Some("3")), ("seed", seed)].into_iter();
            let values =
                values.filter_map(|(name, value)| Some((name.to_string(), value?.to_string())));
            values.collect::<BTreeMap<_, _>>()
        };
        let found = |all: &[_]| difference(all).map(|error| error.to_string());
        assert_eq!(found(&[values(Some("1")), values(Some("1"))]), None);
        assert_eq!(
            found(&[values(Some("1")), values(Some("1")), values(Some("2"))]).unwrap(),
            "seed is 1 on rank 0 but 2 on rank 2; start all ranks with the same settings"
        );
        assert_eq!(
            found(&[values(None), values(Some("2"))]).unwrap(),
            "seed is not set on rank 0 but 2 on rank 1; start all ranks with the same settings"
        );
    }
}
