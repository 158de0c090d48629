//! The preprocessor that completes the MathML of `mdbook-katex` and protects it from Markdown.

/// Rewrites the equations of a text.
///
/// - `~`, `*`, `_` and the like become character references. In Markdown they have a meaning between the tags of
///   an equation as well: the accent of `\tilde r` would start a struck-out passage.
/// - Calligraphic letters become characters of their own: browsers do not know `mathvariant="script"`.
/// - The TeX source is left out: the search of the book would find it.
pub(crate) fn protect(text: &str) -> String {
    replace(text, "<math", "</math>", |math| {
        let math = replace(math, "<annotation", "</annotation>", |_| String::new());
        let math = replace(&math, "<mi mathvariant=\"script\">", "</mi>", |letter| {
            letter.replace(" mathvariant=\"script\"", "").chars().map(script).collect()
        });
        let special = |c| "~*_|\\[]`$".contains(c);
        math.chars()
            .map(|c| if special(c) { format!("&#{};", u32::from(c)) } else { c.into() })
            .collect()
    })
}

/// Replaces each passage from `start` to the next `end`, both included.
fn replace(text: &str, start: &str, end: &str, change: impl Fn(&str) -> String) -> String {
    let (mut result, mut rest) = (String::new(), text);
    while let Some(from) = rest.find(start)
        && let Some(length) = rest[from..].find(end)
    {
        let to = from + length + end.len();
        result.push_str(&rest[..from]);
        result.push_str(&change(&rest[from..to]));
        rest = &rest[to..];
    }
    result + rest
}

/// Returns a capital letter in its calligraphic form, and any other character as it is.
fn script(c: char) -> char {
    match c {
        // These were in Unicode before the others.
        'B' => 'ℬ',
        'E' => 'ℰ',
        'F' => 'ℱ',
        'H' => 'ℋ',
        'I' => 'ℐ',
        'L' => 'ℒ',
        'M' => 'ℳ',
        'R' => 'ℛ',
        'A'..='Z' => char::from_u32(u32::from('𝒜') + u32::from(c) - u32::from('A')).unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_protected_and_text_is_not() {
        let text = "~a~ <math><mo>~</mo><mi mathvariant=\"script\">F</mi>\
            <mi mathvariant=\"script\">G</mi><annotation>G</annotation></math> _b_";
        let expected = "~a~ <math><mo>&#126;</mo><mi>ℱ</mi><mi>𝒢</mi></math> _b_";
        assert_eq!(protect(text), expected);
    }
}
