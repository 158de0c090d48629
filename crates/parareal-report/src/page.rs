//! The HTML page, composed of a frame, a style sheet, data and scripts.

use crate::Report;

const FRAME: &str = include_str!("../page/page.html");
const STYLE: &str = include_str!("../page/style.css");
/// The scripts, in order. Each may use the preceding ones.
const SCRIPTS: [&str; 13] = [
    include_str!("../page/dom.js"),
    include_str!("../page/format.js"),
    include_str!("../page/view.js"),
    include_str!("../page/series.js"),
    include_str!("../page/draw.js"),
    include_str!("../page/chart.js"),
    include_str!("../page/interact.js"),
    include_str!("../page/curves.js"),
    include_str!("../page/tables.js"),
    include_str!("../page/shares.js"),
    include_str!("../page/confusion.js"),
    include_str!("../page/evaluation.js"),
    include_str!("../page/main.js"),
];

/// Returns the page for a report.
pub(crate) fn fill(report: &Report) -> String {
    let names: Vec<&str> = report.runs.iter().map(|run| run.name.as_str()).collect();
    let data = serde_json::to_string(report).expect("numbers, texts and lists are JSON");
    let script = format!("(() => {{\n\"use strict\";\n{}}})();\n", SCRIPTS.join("\n"));
    join([
        ("{{title}}", &text(&names.join(", "))),
        ("{{style}}", STYLE),
        ("{{data}}", &inert(&data)),
        ("{{script}}", &script),
    ])
}

/// Returns the frame with each mark replaced, in the order of `parts`. Inserted text is not searched for
/// marks.
fn join(parts: [(&str, &str); 4]) -> String {
    let (mut page, mut rest) = (String::new(), FRAME);
    for (mark, part) in parts {
        let (before, behind) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(part);
        rest = behind;
    }
    page + rest
}

/// Escapes JSON for a script element, so that its contents cannot end the element or start a comment. The
/// escaped characters occur only within strings, where JSON allows such escapes.
fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => text.push(other),
        }
    }
    text
}

/// Escapes text for use between tags.
fn text(plain: &str) -> String {
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_leave_its_element() {
        let wild = "</script><!-- & \u{2028} <script>\"\\";
        let json = serde_json::to_string(wild).unwrap();
        let inert = inert(&json);
        assert!(!inert.contains(['<', '>', '&', '\u{2028}']), "{inert}");
        assert_eq!(serde_json::from_str::<String>(&inert).unwrap(), wild);
        assert_eq!(text("</title> & more"), "&lt;/title&gt; &amp; more");
    }

    #[test]
    fn inserted_text_is_not_expanded_again() {
        let page = join([
            ("{{title}}", "{{style}} {{data}}"),
            ("{{style}}", "S"),
            ("{{data}}", "{{script}}"),
            ("{{script}}", "X"),
        ]);
        assert!(page.contains("{{style}} {{data}}") && page.contains("{{script}}"));
        assert!(page.ends_with("</html>\n"));
    }

    #[test]
    fn the_parts_contain_no_closing_tags() {
        for mark in ["{{title}}", "{{style}}", "{{data}}", "{{script}}"] {
            assert_eq!(FRAME.matches(mark).count(), 1, "{mark}");
        }
        assert!(!STYLE.contains("</"));
        for script in SCRIPTS {
            assert!(!script.contains("</script") && !script.contains("<!--"));
            assert!(!script.contains("innerHTML") && !script.contains("insertAdjacentHTML"));
        }
    }

    /// A variable with the name of a function would be called instead of the function.
    #[test]
    fn no_variable_hides_a_function_that_is_called() {
        let scripts = format!("\n{}", SCRIPTS.join("\n"));
        let functions: Vec<&str> = scripts.split("\nfunction ").skip(1).collect();
        let names: Vec<&str> = functions.iter().filter_map(|it| it.split('(').next()).collect();
        assert!(names.len() > 20, "{names:?}");
        for function in &functions {
            let body = function.split_once("\n}").expect("a function ends").0;
            for name in &names {
                let hidden = body.contains(&format!("const {name} ="));
                let called = body.contains(&format!(" {name}("));
                assert!(!(hidden && called), "{name} in {body}");
            }
        }
    }
}
