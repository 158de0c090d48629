//! The network that the settings describe.

use parareal::exec::{Layout, ProgramOptions};
use parareal::net::{Cuts, FeedForward};
use parareal::plan::{Link, Scenario, balance};
use parareal_models::{CoarseKind, ImageNetwork, NetworkCosts, Summary, UnitKind};

use crate::settings::{Complete, SettingValue};
use crate::{CutsSetting, Recipe, Settings, VisionError};

/// Largest number of classes; more would not fit in the memory of any machine.
const MAX_CLASSES: usize = 1_000_000;
/// Largest number of channels, far more than in any network trained so far.
const MAX_CHANNELS: usize = 16_384;

/// Architecture of a network: depth, width, cuts and coarse units.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The network, for images of the size of the settings with three channels and ten classes.
    pub net: ImageNetwork,
    /// The cuts.
    pub cuts: Cuts,
    /// The requested kind of coarse units.
    pub coarse_kind: CoarseKind,
    /// The requested number of coarse units, if any.
    pub coarse_units: Option<usize>,
    /// Method that determines the cuts.
    pub cutting: Cutting,
    /// For each coarse network, its time relative to the subnetwork that it approximates, if measured
    /// costs are known.
    pub coarse_times: Option<Vec<f64>>,
}

/// Methods of determining the cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// Even cuts for the number of subnetworks, as in the paper.
    Even,
    /// Cuts with the shortest predicted step; even cuts until [`NetworkConfig::balance`] has computed them.
    Balanced,
    /// Explicit positions.
    Given,
}

impl NetworkConfig {
    /// Returns the network that the settings describe, with the defaults of their recipe.
    pub(crate) fn of(settings: &Settings) -> Result<Self, VisionError> {
        Self::resolve(settings, settings.chosen_recipe())
    }

    /// Completes and checks the settings of the network.
    ///
    /// # Errors
    /// If the network cannot be built or cut with these settings.
    pub fn resolve(settings: &Settings, recipe: Recipe) -> Result<Self, VisionError> {
        settings.check()?;
        Self::new(&settings.clone().complete(recipe), settings.subnetworks)
    }

    /// Builds the network of complete settings; `asked` is the number of subnetworks if it was given
    /// explicitly.
    pub(crate) fn new(settings: &Complete, asked: Option<usize>) -> Result<Self, VisionError> {
        let (coarse_kind, coarse_units) = (settings.coarse_unit, settings.coarse_units);
        if let (CoarseKind::Units(UnitKind::None), Some(units)) = (coarse_kind, coarse_units) {
            let expected = "the coarse unit none has no units; leave it unset, or choose another `coarse-unit`";
            return Err(VisionError::setting("coarse-units", units, expected));
        }
        let net = match settings.network {
            Some(name) if name.depth() != settings.depth => {
                let expected =
                    format!("the network {name} has {} layers; leave it unset", name.depth());
                return Err(VisionError::setting("depth", settings.depth, expected));
            }
            Some(name) => ImageNetwork::sized(name, settings.image_size)?,
            None => ImageNetwork::resnet(settings.depth)?.with_image_size(settings.image_size)?,
        };
        let net = net
            .with_width(settings.width)
            .with_precision(settings.precision)
            .with_coarse_kind(coarse_kind)
            .with_coarse_units(coarse_units);
        if !net.coarse_unit_kinds().iter().all(|kind| net.accepts(*kind)) {
            let expected = match net.recommended_unit() {
                UnitKind::Transformer => {
                    "expected auto, transformer or none for a vision transformer"
                }
                _ => "only a vision transformer can have transformer blocks; choose another kind",
            };
            return Err(VisionError::setting("coarse-unit", coarse_kind, expected));
        }
        let channels = net.last_channels();
        if channels > MAX_CHANNELS {
            let expected = format!(
                "expected a network of at most {MAX_CHANNELS} channels, but its last stage has {channels}"
            );
            return Err(match settings.network {
                Some(name) if settings.width == name.default_width() => {
                    VisionError::setting("network", name, expected)
                }
                _ => VisionError::setting("width", settings.width, expected),
            });
        }
        let (cutting, cuts) = match &settings.cuts {
            CutsSetting::Even => (Cutting::Even, net.default_cuts(settings.subnetworks)?),
            CutsSetting::Balanced => (Cutting::Balanced, net.default_cuts(settings.subnetworks)?),
            CutsSetting::Positions(positions) => {
                (Cutting::Given, Cuts::new(net.units(), positions.clone())?)
            }
        };
        let found = cuts.subnetworks();
        if let Some(asked) = asked.filter(|&asked| asked != found) {
            let expected = format!(
                "these cuts give {found} subnetworks, but `subnetworks` is {asked}; set only one of the two, or \
                 set `cuts` to even"
            );
            return Err(VisionError::setting("cuts", settings.cuts.to_text(), expected));
        }
        Ok(Self { net, cuts, coarse_kind, coarse_units, cutting, coarse_times: None })
    }

    /// Returns the cuts as a setting. Balanced cuts are recorded as positions, because another measurement
    /// might result in other cuts. An uncut network has no positions and is recorded as even.
    pub(crate) fn cuts_setting(&self) -> CutsSetting {
        match self.cutting {
            _ if self.cuts.positions().is_empty() => CutsSetting::Even,
            Cutting::Even => CutsSetting::Even,
            Cutting::Balanced if self.coarse_times.is_none() => CutsSetting::Balanced,
            Cutting::Balanced | Cutting::Given => {
                CutsSetting::Positions(self.cuts.positions().to_vec())
            }
        }
    }

    /// Computes the cuts with the shortest predicted step on a layout.
    ///
    /// # Errors
    /// If there are more subnetworks than units.
    pub fn balance(
        &mut self,
        costs: &NetworkCosts,
        layout: &Layout,
        link: Link,
        options: ProgramOptions,
    ) -> Result<(), VisionError> {
        self.cuts = balance(costs, layout, link, options)?.cuts;
        self.coarse_times = Some(Scenario::new(costs, &self.cuts, layout.clone())?.coarse_shares());
        Ok(())
    }

    /// Returns true if balanced cuts are requested, whether or not they have been computed.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.cutting == Cutting::Balanced
    }

    /// Returns the number of units of the first `F_j`, or 0 for an uncut network.
    #[must_use]
    pub fn first_coarse_units(&self) -> usize {
        let first = self.cuts.interfaces().next();
        first.map_or(0, |first| self.net.coarse_choice(&first).units)
    }

    /// Returns a summary of the components of the network.
    ///
    /// # Errors
    /// If a number of channels or classes is not valid, or the modules of the network do not fit
    /// together.
    pub fn summary(&self, channels: usize, classes: usize) -> Result<Summary, VisionError> {
        if classes == 0 || channels == 0 {
            return Err(VisionError::setting("classes", classes, "expected at least 1"));
        }
        if classes > MAX_CLASSES {
            let expected = format!("expected at most {MAX_CLASSES}");
            return Err(VisionError::setting("classes", classes, expected));
        }
        let net = self.net.clone().with_in_channels(channels).with_classes(classes);
        Ok(Summary::new(&net, &self.cuts)?)
    }

    /// Returns one line for each interface, with the units of its coarse network and their cost relative to
    /// the subnetwork that they approximate. For `auto`, the line also has the cost of the paper's units.
    #[must_use]
    pub fn coarse_reasons(&self) -> Vec<String> {
        let basic = self.net.clone().with_coarse_kind(UnitKind::Basic);
        let basic = self.cuts.interfaces().map(|interface| basic.coarse_choice(&interface));
        let chosen = self.cuts.interfaces().map(|interface| self.net.coarse_choice(&interface));
        chosen
            .zip(basic)
            .map(|(chosen, basic)| {
                let share = |cost: u64| 100.0 * cost as f64 / chosen.replaces.max(1) as f64;
                let why = match self.coarse_kind {
                    CoarseKind::Auto if self.net.accepts(UnitKind::Basic) => {
                        let share = share(basic.multiply_adds);
                        format!("; the paper's units would cost {share:.0} % of that subnetwork")
                    }
                    _ => String::new(),
                };
                let (cost, approximated): (String, _) = match (chosen.kind, chosen.units) {
                    (UnitKind::None, _) => ("the skip connection costs".into(), "it approximates"),
                    (kind, 1) => (format!("1 {kind} unit costs"), "it approximates"),
                    (kind, units) => (format!("{units} {kind} units cost"), "they approximate"),
                };
                format!(
                    "{cost} {:.0} % of the {:.1}M multiply-adds of the subnetwork that \
                     {approximated}{why}",
                    share(chosen.multiply_adds),
                    chosen.replaces as f64 / 1e6,
                )
            })
            .collect()
    }

    /// Returns true if a network with these cuts has the same modules: depth, width, cuts and coarse networks.
    pub(crate) fn has_modules_of(&self, other: &ImageNetwork, cuts: &Cuts) -> bool {
        self.net.name() == other.name() && self.has_interfaces_of(other, cuts, Some)
    }

    /// Returns true if a network with these cuts has the same coarse networks between corresponding units. `counterpart`
    /// returns the unit of the other network to which a unit corresponds.
    pub(crate) fn has_interfaces_of(
        &self,
        other: &ImageNetwork,
        cuts: &Cuts,
        counterpart: impl Fn(usize) -> Option<usize>,
    ) -> bool {
        let coarse = |net: &ImageNetwork, cuts: &Cuts| -> Vec<_> {
            let choices = cuts.interfaces().map(|interface| net.coarse_choice(&interface));
            choices.map(|choice| (choice.kind, choice.units)).collect()
        };
        let positions = self.cuts.positions().iter().map(|&unit| counterpart(unit));
        positions.eq(cuts.positions().iter().copied().map(Some))
            && coarse(&self.net, &self.cuts) == coarse(other, cuts)
    }
}
