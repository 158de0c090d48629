//! Checks that `docs/src/faults.md` names existing tests.

use std::fs;
use std::path::Path;

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
