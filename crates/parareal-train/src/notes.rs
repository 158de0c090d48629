//! Notes to the user about problems that do not end a run.

/// Notes in the order in which they were added, at most one of each kind.
#[derive(Default)]
pub(crate) struct Notes {
    kinds: Vec<Note>,
    all: Vec<String>,
    told: usize,
}

/// The kind of a note. A problem that occurs at every checkpoint is noted only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The file system cannot sync folders.
    FolderNotSynced,
    /// An old checkpoint cannot be removed.
    CheckpointStays,
    /// The details of an evaluation cannot be written.
    EvaluationNotSaved,
    /// The timeline of a step is not written.
    TimelineNotWritten,
}

impl Notes {
    /// Adds a note, unless there is one of this kind.
    pub(crate) fn add(&mut self, kind: Note, text: String) {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
            self.all.push(text);
        }
    }

    /// Returns the notes that were added since the last call.
    pub(crate) fn new_ones(&mut self) -> &[String] {
        let told = std::mem::replace(&mut self.told, self.all.len());
        &self.all[told..]
    }

    /// Returns all notes.
    pub(crate) fn all(&self) -> &[String] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_note_is_kept_and_reported_once() {
        let mut notes = Notes::default();
        notes.add(Note::FolderNotSynced, "a".into());
        notes.add(Note::FolderNotSynced, "b".into());
        assert_eq!(notes.new_ones(), ["a"]);
        assert!(notes.new_ones().is_empty());
        notes.add(Note::CheckpointStays, "c".into());
        assert_eq!(notes.new_ones(), ["c"]);
        assert_eq!(notes.all(), ["a", "c"]);
    }
}
