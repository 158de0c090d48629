//! The network that the settings describe.

use parareal::exec::Layout;
use parareal::net::{Cuts, FeedForward};
use parareal::plan::{Link, Scenario, balance};
use parareal_models::resnet::{CoarseKind, ResNet, ResNetCosts, Summary};

use crate::config::given;
use crate::{Recipe, Settings, TrainError};

/// Ten times what anybody has trained; more are a mistake, and building them takes the memory.
const MOST_LAYERS: usize = 100_000;
const MOST_COARSE_UNITS: usize = 1_000;
const MOST_CLASSES: usize = 1_000_000;

/// Refuses numbers that no machine has the memory for.
fn at_most(name: &'static str, value: Option<usize>, most: usize) -> Result<(), TrainError> {
    match value {
        Some(value) if value > most => {
            Err(TrainError::setting(name, value, format!("at most {most} are supported")))
        }
        _ => Ok(()),
    }
}

/// A network without its data: depth, cuts and coarse units.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The network, for images of three channels and ten classes.
    pub net: ResNet,
    /// Where it is cut.
    pub cuts: Cuts,
    /// The kind of coarse units that was asked for.
    pub coarse_kind: CoarseKind,
    /// The number of coarse units, where one was asked for.
    pub coarse_units: Option<usize>,
    /// How the cuts were found.
    pub cutting: Cutting,
    /// For each coarse network its time as a share of that of the subnetwork that it approximates,
    /// where costs of the parts are known.
    pub coarse_times: Option<Vec<f64>>,
}

/// How cuts are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// As the paper's: they follow from the number of subnetworks.
    Even,
    /// With the shortest predicted step. Until [`NetworkConfig::balance`] has found them they are
    /// even.
    Balanced,
    /// They were given.
    Given,
}

impl NetworkConfig {
    /// The network of a configuration, with the defaults of its recipe.
    pub(crate) fn of(settings: &Settings) -> Result<Self, TrainError> {
        Self::resolve(settings, Recipe::chosen(settings)?)
    }

    /// Completes and looks over what concerns the network.
    ///
    /// # Errors
    /// [`TrainError`] for a network that cannot be.
    pub fn resolve(settings: &Settings, recipe: Recipe) -> Result<Self, TrainError> {
        let s = settings.clone().or(recipe.settings(None));
        let coarse_kind: CoarseKind = given(s.coarse_unit)
            .parse()
            .map_err(|message: String| TrainError::setting("coarse-unit", "not known", message))?;
        if s.coarse_units == Some(0) {
            let expected = "a coarse network has at least 1 unit; leave it out for the rule";
            return Err(TrainError::setting("coarse-units", "0", expected));
        }
        at_most("depth", s.depth, MOST_LAYERS)?;
        at_most("coarse-units", s.coarse_units, MOST_COARSE_UNITS)?;
        let net = ResNet::new(given(s.depth))?
            .with_coarse_kind(coarse_kind)
            .with_coarse_units(s.coarse_units);
        let text = given(s.cuts);
        let cutting = match text.as_str() {
            "even" => Cutting::Even,
            "balanced" => Cutting::Balanced,
            _ => Cutting::Given,
        };
        let cuts = if cutting != Cutting::Given {
            net.default_cuts(given(s.subnetworks))?
        } else {
            let cuts = Cuts::new(net.units(), parse_cuts(&text)?)?;
            if let Some(asked) = settings.subnetworks.filter(|&n| n != cuts.subnetworks()) {
                let found = cuts.subnetworks();
                let expected = format!(
                    "they make {found} subnetworks, not {asked}: leave out one of --cuts and \
                     --subnetworks, or set --cuts even"
                );
                return Err(TrainError::setting("cuts", text, expected));
            }
            cuts
        };
        let (coarse_units, coarse_times) = (s.coarse_units, None);
        Ok(Self { net, cuts, coarse_kind, coarse_units, cutting, coarse_times })
    }

    /// Cuts the network where the predicted step of a layout is shortest; `defer` is whether gradients
    /// of the coarse network's weights wait.
    ///
    /// # Errors
    /// Where there are more subnetworks than units.
    pub fn balance(
        &mut self,
        costs: &ResNetCosts,
        layout: &Layout,
        link: Link,
        defer: bool,
    ) -> Result<(), TrainError> {
        self.cuts = balance(costs, layout, link, defer)?.cuts;
        self.coarse_times = Some(Scenario::new(costs, &self.cuts, layout.clone())?.coarse_shares());
        Ok(())
    }

    /// Whether its cuts are to be balanced, or are.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.cutting == Cutting::Balanced
    }

    /// Units of the first `F_j`; none where it is not cut.
    #[must_use]
    pub fn first_coarse_units(&self) -> usize {
        let first = self.cuts.interfaces().next();
        first.map_or(0, |first| self.net.coarse_choice(&first).units)
    }

    /// What the network consists of.
    ///
    /// # Errors
    /// Where the modules of the network do not fit together.
    pub fn summary(&self, channels: usize, classes: usize) -> Result<Summary, TrainError> {
        if classes == 0 || channels == 0 {
            return Err(TrainError::setting("classes", classes, "at least 1 is expected"));
        }
        at_most("classes", Some(classes), MOST_CLASSES)?;
        let net = self.net.clone().with_in_channels(channels).with_classes(classes);
        Ok(Summary::new(&net, &self.cuts)?)
    }

    /// One line for each interface: the units of its coarse network, their cost beside that of the
    /// subnetwork that they approximate, and the cost of the paper's units where others were chosen.
    #[must_use]
    pub fn coarse_reasons(&self) -> Vec<String> {
        let basic = self.net.clone().with_coarse_kind(CoarseKind::Basic);
        let basic = self.cuts.interfaces().map(|interface| basic.coarse_choice(&interface));
        let chosen = self.cuts.interfaces().map(|interface| self.net.coarse_choice(&interface));
        chosen
            .zip(basic)
            .map(|(chosen, basic)| {
                let share = |cost: u64| 100.0 * cost as f64 / chosen.replaces.max(1) as f64;
                let why = match self.coarse_kind {
                    CoarseKind::Auto if chosen != basic => {
                        let share = share(basic.multiply_adds);
                        format!("; basic units would cost {share:.0} % of that subnetwork")
                    }
                    _ => String::new(),
                };
                let [units, approximated] = match chosen.units {
                    1 => ["unit costs", "it approximates"],
                    _ => ["units cost", "they approximate"],
                };
                format!(
                    "{} {} {units} {:.0} % of the {:.1}M multiply-adds of the subnetwork that \
                     {approximated}{why}",
                    chosen.units,
                    chosen.kind,
                    share(chosen.multiply_adds),
                    chosen.replaces as f64 / 1e6,
                )
            })
            .collect()
    }

    pub(crate) fn settings(&self) -> Settings {
        // Balanced cuts are written down: measured once more they might be others.
        let cuts = match self.cutting {
            Cutting::Even => "even".into(),
            _ if self.cuts.positions().is_empty() => "even".into(),
            Cutting::Balanced | Cutting::Given => cuts_text(self.cuts.positions()),
        };
        Settings {
            depth: Some(self.net.depth()),
            subnetworks: Some(self.cuts.subnetworks()),
            cuts: Some(cuts),
            coarse_unit: Some(self.coarse_kind.to_string()),
            coarse_units: self.coarse_units,
            ..Settings::default()
        }
    }
}

fn parse_cuts(text: &str) -> Result<Vec<usize>, TrainError> {
    let numbers = text.split(',').map(|number| number.trim().parse());
    numbers.collect::<Result<_, _>>().map_err(|_| {
        let expected =
            "expected even, balanced, or the units before each cut in rising order, say 3,6";
        TrainError::setting("cuts", format!("`{text}`"), expected)
    })
}

/// Numbers as they are written in a flag.
pub(crate) fn cuts_text(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
