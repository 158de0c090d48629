//! Checks that `docs/src/faults.md` names existing tests, and that `docs/src/reference/configuration.md` lists the
//! settings.

use std::fs;
use std::path::Path;

use parareal_vision::{Recipe, Settings};

#[test]
fn every_row_of_the_table_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(root.join("docs/src/faults.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let mut count = 0;
    for row in rows.filter(|row| !row.starts_with("| fault") && !row.starts_with("| ---")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[_, _, code, test] = cells.as_slice() else {
            panic!("four cells are expected: {row}")
        };
        assert!(["0", "1", "2", "130", "137", "-"].contains(&code), "{row}");
        let (file, name) = test.trim_matches('`').split_once("::").expect(row);
        let source = fs::read_to_string(root.join("crates").join(file)).expect(file);
        assert!(
            source.contains(&format!("#[test]\nfn {name}()"))
                || source.contains(&format!("#[test]\n    fn {name}()")),
            "{file} has no test {name}"
        );
        count += 1;
    }
    assert!(count >= 40, "only {count} rows");
}

#[test]
fn every_setting_has_a_row_in_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/src/reference/configuration.md")).unwrap();
    let mut rows = page.lines().filter(|line| line.starts_with("| `"));
    for definition in Settings::definitions() {
        let key = definition.key;
        let row = rows.next().unwrap_or_else(|| panic!("`{key}` has no row"));
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[name, _, quick, paper, resume] = cells.as_slice() else {
            panic!("expected five cells: {row}")
        };
        assert_eq!(name, format!("`{key}`"));
        assert_eq!(resume, if definition.may_change { "yes" } else { "no" }, "{row}");
        for (shown, recipe) in [(quick, Recipe::Quick), (paper, Recipe::Paper)] {
            // The default milestones of the quick recipe depend on the epochs.
            let is_fixed = key != "milestones" || recipe == Recipe::Paper;
            if let Some(default) = definition.default_of(recipe).filter(|_| is_fixed) {
                assert_eq!(shown, format!("`{default}`"), "{row}");
            }
        }
    }
    assert_eq!(rows.next(), None);
}
