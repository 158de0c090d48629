//! The rows of the comparison of initial weights on held-out images.

use parareal_models::UnitKind;

use super::{CIFAR_29, Kind, Setup, holding_out, rehearsed, row_of};
use crate::network::Coarse;
use crate::row::{Row, Source};
use crate::{Error, Result};

/// Setups of the comparison of initial weights, all with the rate for N = 1.
const INITIALIZATION: Setup = Setup { id: "initialization", epochs: 6, ..CIFAR_29 };
const SHALLOW: Setup = Setup { depth: 20, ..INITIALIZATION };
/// A deeper network than that of [`INITIALIZATION`], whose stages have two units beside the first to interpolate between.
const DEEP: Setup = Setup { depth: 38, ..INITIALIZATION };
/// The cut network that is trained with different initial weights.
const INITIALIZED: Kind = Kind::Cut(3, Coarse::of(UnitKind::Depthwise, 4));
/// Number of steps of a distillation.
const DISTILLATION: usize = 200;

/// Returns the rows of cut networks with different initial weights. Each row comes after the serial row
/// that provides its initial weights.
///
/// # Errors
/// If a network cannot be built.
pub(crate) fn initialization(rehearse: bool) -> Result<Vec<Row>> {
    let row = |setup: &Setup, kind, name: &str, title: &str| {
        let row = row_of(setup, kind, 1)?;
        Ok::<_, Error>(Row {
            id: format!("{}-{name}", setup.id),
            group: "CIFAR-10 (subset), initial weights".into(),
            title: title.into(),
            ..holding_out(row, INITIALIZATION.rates.serial)
        })
    };
    let serial = row(&INITIALIZATION, Kind::Serial, "serial-29", "N = 1, depth 29")?;
    let shallow = row(&SHALLOW, Kind::Serial, "serial-20", "N = 1, depth 20")?;
    let from = |row: &Row, distillation| Source {
        row: Box::new(row.clone()),
        epochs: INITIALIZATION.epochs,
        interpolates: false,
        distillation,
    };
    let started = |setup: &Setup, name, title: &str, source| {
        let row = row(setup, INITIALIZED, name, title)?;
        Ok::<_, Error>(Row { source: Some(source), ..row })
    };
    let of_29 = |name, title: &str, source| {
        started(&INITIALIZATION, name, &format!("N = 3 from {title}"), source)
    };
    let of_38 = |name, title: &str, source| {
        started(&DEEP, name, &format!("N = 3, depth 38, from {title}"), source)
    };
    let steps = Some(DISTILLATION);
    let interpolated = Source { interpolates: true, ..from(&serial, None) };
    let rows = vec![
        serial.clone(),
        row(&INITIALIZATION, INITIALIZED, "scratch", "N = 3 from scratch")?,
        of_29("distilled", "depth 29, distilled", from(&serial, steps))?,
        of_29("from-serial", "depth 29", from(&serial, None))?,
        shallow.clone(),
        of_29("nested", "depth 20", from(&shallow, None))?,
        of_29("nested-distilled", "depth 20, distilled", from(&shallow, steps))?,
        row(&DEEP, INITIALIZED, "scratch-38", "N = 3, depth 38, from scratch")?,
        of_38("nested-38", "depth 29", from(&serial, None))?,
        of_38("nested-38-interpolated", "depth 29, interpolated", interpolated)?,
    ];
    rehearsed(rows, rehearse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_weights_are_compared_with_the_same_settings_otherwise() {
        let rows = initialization(false).unwrap();
        let arguments = |id: &str| {
            let row = rows.iter().find(|row| row.id == id).unwrap();
            row.arguments(1, 6).join(" ")
        };
        let scratch = arguments("initialization-scratch");
        assert_eq!(
            scratch,
            "--dataset cifar10 --depth 29 --subnetworks 3 --coarse-unit depthwise --coarse-units 4 \
             --epochs 6 --validation 0.15 --limit-test 0 --batch-size 32 --learning-rate 0.05 \
             --schedule step --milestones 4,5 --seed 1"
        );
        let with = |added: &str| scratch.replace("--seed", &format!("{added} --seed"));
        for (id, added) in [
            ("from-serial", "--init-from RUN-OF-initialization-serial-29"),
            ("distilled", "--init-from RUN-OF-initialization-serial-29 --distill 200"),
            ("nested", "--init-from RUN-OF-initialization-serial-20"),
            ("nested-distilled", "--init-from RUN-OF-initialization-serial-20 --distill 200"),
        ] {
            assert_eq!(arguments(&format!("initialization-{id}")), with(added));
        }
        let deep = arguments("initialization-scratch-38");
        assert_eq!(deep, scratch.replace("--depth 29", "--depth 38"));
        let with = |added: &str| deep.replace("--seed", &format!("{added} --seed"));
        let repeated = "--init-from RUN-OF-initialization-serial-29";
        assert_eq!(arguments("initialization-nested-38"), with(repeated));
        assert_eq!(
            arguments("initialization-nested-38-interpolated"),
            with(&format!("{repeated} --init-units interpolate"))
        );
        assert!(arguments("initialization-serial-20").contains("--depth 20 --subnetworks 1 "));
        assert!(rows.iter().all(|row| row.held_out && row.seeds == [1]));
        // The source of each row is an earlier row with the same settings.
        for (index, row) in rows.iter().enumerate() {
            let Some(source) = &row.source else { continue };
            let before = rows[..index].iter().find(|before| before.id == source.row.id).unwrap();
            assert_eq!(row.source_arguments(1), Some(before.arguments(1, 6)));
        }
    }
}
