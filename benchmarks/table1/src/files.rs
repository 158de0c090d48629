//! The files of a study: results, costs, README and picture.

use std::fs;
use std::path::{Path, PathBuf};

use parareal_models::CostTable;
use serde::Deserialize;

use crate::record::{Results, read_json};
use crate::row::Row;
use crate::study::Study;
use crate::{Result, held_out, initialization, picture, precision, table};

/// The lines that mark the beginning and the end of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

impl Marks {
    /// Replaces the text between the marks of a document.
    ///
    /// # Errors
    /// If the document lacks one of the marks.
    fn insert(self, document: &str, text: &str) -> Result<String> {
        let lacking = |mark| format!("line {mark} not found");
        let (before, rest) = document.split_once(self.begin).ok_or_else(|| lacking(self.begin))?;
        let (_, after) = rest.split_once(self.end).ok_or_else(|| lacking(self.end))?;
        Ok(format!("{before}{}\n{text}\n{}{after}", self.begin, self.end))
    }
}

impl Study {
    /// The name, which is used in names of folders.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
            Self::Screening => "screening",
            Self::Rates => "rates",
            Self::Initialization => "initialization",
            Self::Precision => "precision",
        }
    }

    /// The folder of the README, next to the folders of the other benchmarks.
    fn folder(self) -> &'static str {
        match self {
            Self::Small | Self::Full | Self::Precision => "table1",
            Self::Screening | Self::Rates => "coarse-units",
            Self::Initialization => "initialization",
        }
    }

    /// The folder of the results, within the folder of the README. Two studies can share it, because records
    /// name their rows.
    fn results(self) -> &'static str {
        match self {
            Self::Full => "results/full",
            _ => "results",
        }
    }

    fn picture(self) -> Option<&'static str> {
        match self {
            Self::Small => Some("errors.svg"),
            Self::Full => Some("errors-full.svg"),
            Self::Screening => Some("screening.svg"),
            Self::Rates | Self::Precision => None,
            Self::Initialization => Some("curves.svg"),
        }
    }

    /// The part of the picture's alternative text that says which errors it shows.
    fn shown(self) -> &'static str {
        match self {
            Self::Initialization => "over epochs and over wall clock",
            _ => "of every seed at the end and over epochs",
        }
    }

    pub(crate) fn marks(self) -> Marks {
        let (begin, end) = match self {
            Self::Small => ("<!-- table: made by table1 -->", "<!-- end of table -->"),
            Self::Full => ("<!-- full table: made by table1 -->", "<!-- end of full table -->"),
            Self::Screening => ("<!-- screening: made by table1 -->", "<!-- end of screening -->"),
            Self::Precision => ("<!-- precision: made by table1 -->", "<!-- end of precision -->"),
            Self::Rates => ("<!-- rates: made by table1 -->", "<!-- end of rates -->"),
            Self::Initialization => {
                ("<!-- initialization: made by table1 -->", "<!-- end of initialization -->")
            }
        };
        Marks { begin, end }
    }
}

/// The files of a study.
#[derive(Debug)]
pub(crate) struct StudyFiles {
    study: Study,
    /// Folder of results.
    pub(crate) results: PathBuf,
    pub(crate) readme: PathBuf,
    pub(crate) picture: Option<PathBuf>,
    costs: PathBuf,
}

/// The fields of `parareal bench --json` that are used.
#[derive(Deserialize)]
struct Bench {
    costs: CostTable,
}

impl StudyFiles {
    /// Returns the files of a study in the folder of the benchmarks.
    pub(crate) fn new(benchmarks: &Path, study: Study) -> Self {
        let costs = benchmarks.join("coarse-units/costs.json");
        Self { costs, ..Self::within(&benchmarks.join(study.folder()), study) }
    }

    /// Returns the files of a rehearsal in a folder, with the costs of `self`.
    pub(crate) fn rehearsal(&self, folder: &Path) -> Self {
        Self { costs: self.costs.clone(), ..Self::within(folder, self.study) }
    }

    fn within(folder: &Path, study: Study) -> Self {
        Self {
            study,
            results: folder.join(study.results()),
            readme: folder.join("README.md"),
            picture: study.picture().map(|name| folder.join(name)),
            costs: folder.join("costs.json"),
        }
    }

    /// Returns the tables of the study.
    ///
    /// # Errors
    /// If the file of costs is damaged, or lacks a component of a network.
    pub(crate) fn markdown(&self, rows: &[Row], results: &Results) -> Result<String> {
        if rows.iter().all(|row| results.of(row).is_empty()) {
            return Ok("No run has finished yet.".into());
        }
        match self.study {
            Study::Small | Study::Full => table::markdown(rows, results, self.costs()?.as_ref()),
            Study::Screening => held_out::units(rows, results, self.costs()?.as_ref()),
            Study::Rates => Ok(held_out::rates(rows, results)),
            Study::Precision => Ok(precision::markdown(rows, results)),
            Study::Initialization => Ok(initialization::markdown(rows, results)),
        }
    }

    /// Reads the costs of coarse units; `None` if they have not been measured yet.
    fn costs(&self) -> Result<Option<CostTable>> {
        let is_measured = self.costs.exists();
        Ok(is_measured
            .then(|| read_json::<Bench>(&self.costs))
            .transpose()?
            .map(|bench| bench.costs))
    }

    /// Returns README and picture as generated from the results. There is no picture if there are no results.
    fn rendered(&self, rows: &[Row], results: &Results) -> Result<(String, Option<String>)> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", self.readme.display());
        let document = fs::read_to_string(&self.readme).map_err(|error| told(&error))?;
        let mut text = self.markdown(rows, results)?;
        let mut svg = None;
        if let Some(picture) = &self.picture {
            svg = match self.study {
                Study::Initialization => picture::over_epochs_and_time(rows, results)?,
                _ => picture::svg(rows, results)?,
            };
            if svg.is_some() {
                let all: Vec<_> = rows.iter().collect();
                let name = picture.file_name().unwrap_or_default().to_string_lossy();
                text +=
                    &format!("\n\n![{} {}]({name})", table::error_name(&all), self.study.shown());
            }
        }
        let document = self.study.marks().insert(&document, &text).map_err(|error| told(&error))?;
        Ok((document, svg))
    }

    /// Writes the tables to README, and the plot next to it.
    ///
    /// # Errors
    /// If README has no marks for the tables, or a file cannot be read or written.
    pub(crate) fn write(&self, rows: &[Row], results: &Results) -> Result<()> {
        let (document, svg) = self.rendered(rows, results)?;
        fs::write(&self.readme, document)?;
        match (&self.picture, svg) {
            (Some(path), Some(svg)) => fs::write(path, svg)?,
            (Some(path), None) if path.exists() => fs::remove_file(path)?,
            _ => {}
        }
        Ok(())
    }

    /// Compares README and picture with the results.
    ///
    /// # Errors
    /// If one of them differs, or a file cannot be read.
    pub(crate) fn check(&self, rows: &[Row], results: &Results) -> Result<()> {
        let (document, svg) = self.rendered(rows, results)?;
        let picture = self.picture.as_ref().map(|path| (path, svg));
        for (path, expected) in [(&self.readme, Some(document))].into_iter().chain(picture) {
            if fs::read_to_string(path).ok() != expected {
                return Err(format!("{} differs from the results", path.display()).into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;
    use crate::record::tests::{record, row};
    use crate::study;

    #[test]
    fn tables_stand_between_marks() {
        let (small, full) = (Study::Small.marks(), Study::Full.marks());
        let document = format!("Text.\n{}\nold\n{}\nMore.\n", small.begin, small.end);
        let new = small.insert(&document, "new").unwrap();
        assert_eq!(new, format!("Text.\n{}\nnew\n{}\nMore.\n", small.begin, small.end));
        assert_eq!(small.insert(&new, "new").unwrap(), new);
        let error = full.insert(&document, "new").unwrap_err().to_string();
        assert!(error.contains("full table"), "{error}");
        assert!(small.insert(small.begin, "new").is_err());
    }

    #[test]
    fn each_readme_has_the_marks_of_its_tables() {
        let table1 = include_str!("../README.md");
        let coarse_units = include_str!("../../coarse-units/README.md");
        let initialization = include_str!("../../initialization/README.md");
        for (readme, study) in [
            (table1, Study::Small),
            (table1, Study::Full),
            (table1, Study::Precision),
            (coarse_units, Study::Screening),
            (coarse_units, Study::Rates),
            (initialization, Study::Initialization),
        ] {
            study.marks().insert(readme, "").unwrap();
        }
    }

    fn of(folder: &Path, study: Study) -> StudyFiles {
        let files = StudyFiles::new(folder, study);
        fs::create_dir_all(files.readme.parent().unwrap()).unwrap();
        let marks = study.marks();
        fs::write(&files.readme, format!("Text.\n{}\n{}\n", marks.begin, marks.end)).unwrap();
        files
    }

    #[test]
    fn a_check_fails_where_readme_and_results_differ() {
        let folder = tempfile::tempdir().unwrap();
        let files = of(folder.path(), Study::Small);
        let rows = study::small(false).unwrap();
        let mut results = Results::read(&files.results).unwrap();
        files.write(&rows, &results).unwrap();
        files.check(&rows, &results).unwrap();
        let readme = || fs::read_to_string(&files.readme).unwrap();
        assert!(readme().contains("No run has finished yet."));
        results.add(record(&row("cifar10-29-n1"), 1, 12, 0.3, 60.0)).unwrap();
        let error = files.check(&rows, &results).unwrap_err().to_string();
        assert!(error.contains("README.md differs from the results"), "{error}");
        files.write(&rows, &results).unwrap();
        files.check(&rows, &results).unwrap();
        assert!(readme().contains("](errors.svg)"));
        fs::write(files.picture.as_ref().unwrap(), "").unwrap();
        assert!(files.check(&rows, &results).unwrap_err().to_string().contains("errors.svg"));
        // If no run counts, the picture is deleted.
        let none = Results::read(&folder.path().join("none")).unwrap();
        files.write(&rows, &none).unwrap();
        files.check(&rows, &none).unwrap();
    }

    /// Without the pictures, which depend on the fonts of the machine.
    #[test]
    fn the_tables_in_the_readmes_are_those_of_the_stored_results() {
        let benchmarks = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for flags in ["", "--screening", "--rates", "--initialization", "--precision", "--full"] {
            let line = ["table1", "--check", flags].into_iter().filter(|flag| !flag.is_empty());
            let arguments = Arguments::parse_from(line);
            let files = StudyFiles::new(&benchmarks, arguments.study());
            let results = Results::read(&files.results).unwrap();
            let rows = arguments.rows(&results).unwrap();
            let (document, _) = files.rendered(&rows, &results).unwrap();
            let readme = fs::read_to_string(&files.readme).unwrap();
            assert!(readme == document, "run table1 {flags} --write");
        }
    }

    #[test]
    fn a_check_covers_the_studies_on_held_out_images_and_their_costs() {
        let folder = tempfile::tempdir().unwrap();
        let [screening, rates] =
            [Study::Screening, Study::Rates].map(|study| of(folder.path(), study));
        let unit = row("screening-n3-basic-4");
        let rate = row("rates-mnist-20-n1-lr0.05");
        let mut results = Results::read(&rates.results).unwrap();
        results.add(record(&rate, 1, 6, 0.02, 60.0)).unwrap();
        results.add(record(&unit, 1, 4, 0.3, 60.0)).unwrap();

        let rows = study::rates(false).unwrap();
        rates.write(&rows, &results).unwrap();
        rates.check(&rows, &results).unwrap();
        assert!(!fs::read_to_string(&rates.readme).unwrap().contains(".svg"));

        let screening =
            StudyFiles { readme: of(folder.path(), Study::Screening).readme, ..screening };
        let rows = study::screening(false).unwrap();
        screening.write(&rows, &results).unwrap();
        screening.check(&rows, &results).unwrap();
        let costs = crate::network::tests::costs(&parareal_models::UnitKind::CONVOLUTIONAL);
        let text = serde_json::json!({ "network": "ResNet-29", "costs": costs }).to_string();
        fs::write(&screening.costs, text).unwrap();
        let error = screening.check(&rows, &results).unwrap_err().to_string();
        assert!(error.contains("README.md differs"), "{error}");
        screening.write(&rows, &results).unwrap();
        let readme = fs::read_to_string(&screening.readme).unwrap();
        assert!(readme.contains("28600.0 ms") && readme.contains("](screening.svg)"), "{readme}");
        fs::write(&screening.costs, "{}").unwrap();
        let error = screening.check(&rows, &results).unwrap_err().to_string();
        assert!(error.contains("costs.json: missing field `costs`"), "{error}");
    }

    #[test]
    fn a_check_covers_the_comparison_of_initial_weights() {
        let folder = tempfile::tempdir().unwrap();
        let files = of(folder.path(), Study::Initialization);
        let rows = study::initialization(false).unwrap();
        let mut results = Results::read(&files.results).unwrap();
        results.add(record(&row("initialization-scratch"), 1, 6, 0.35, 600.0)).unwrap();
        files.write(&rows, &results).unwrap();
        files.check(&rows, &results).unwrap();
        let readme = fs::read_to_string(&files.readme).unwrap();
        let picture = "![validation error over epochs and over wall clock](curves.svg)";
        assert!(readme.contains(picture) && readme.contains("35.0"), "{readme}");
        fs::write(files.picture.as_ref().unwrap(), "").unwrap();
        assert!(files.check(&rows, &results).unwrap_err().to_string().contains("curves.svg"));
    }
}
