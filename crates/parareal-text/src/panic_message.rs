use std::any::Any;

/// Returns the message of a caught panic, such as the error of [`std::panic::catch_unwind`]. A panic whose
/// payload is not text has the message "no panic message".
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no panic message".into())
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, panic_any};

    use super::*;

    #[test]
    fn panics_have_their_text_or_a_default() {
        let caught = |number: i32| {
            let panic = catch_unwind(|| match number {
                0 => panic!("plain"),
                1 => panic!("number {number}"),
                _ => panic_any(number),
            });
            panic_message(&*panic.unwrap_err())
        };
        assert_eq!([0, 1, 2].map(caught), ["plain", "number 1", "no panic message"]);
    }
}
