use super::PartName;
use crate::resnet::{Image, ResNet, UnitKind};

/// How much memory a part takes, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Its weights.
    pub(super) weights: usize,
    /// What one image leaves for the backward pass: the input of each convolution.
    pub(super) kept: usize,
}

fn numbers(image: Image) -> usize {
    image.channels * image.size * image.size
}

impl Size {
    pub(super) fn of(part: &PartName, net: &ResNet) -> Self {
        match *part {
            PartName::Preprocessing { to } => {
                // C_1 alone leads to the narrow image.
                let kernel = if to.channels == net.width { 9 } else { 1 };
                let kept = net.in_channels * to.size * to.size;
                Self { weights: kernel * net.in_channels * to.channels, kept }
            }
            PartName::Unit { kind, from, to } => unit(kind, from, to),
            PartName::Postprocessing { from } => {
                let weights = from.channels * (2 + net.classes()) + net.classes();
                Self { weights, kept: numbers(from) }
            }
        }
    }
}

/// Convolutions and two numbers of normalization for each channel that one takes in.
fn unit(kind: UnitKind, from: Image, to: Image) -> Size {
    let (a, b) = (from.channels, to.channels);
    let halved = Image { channels: b, size: from.size };
    let (convolutions, normalized, kept) = match kind {
        UnitKind::Basic => (9 * (a + b) * b, a + b, numbers(from) + numbers(to)),
        UnitKind::Bottleneck => {
            let narrow = b / 4;
            let [before, after] = [from, to].map(|image| Image { channels: narrow, ..image });
            let convolutions = narrow * (a + 9 * narrow + b);
            (convolutions, a + 2 * narrow, numbers(from) + numbers(before) + numbers(after))
        }
        UnitKind::Depthwise => {
            let kept = numbers(from) + numbers(halved) + 2 * numbers(to);
            ((a + b + 18) * b, a + b, kept)
        }
    };
    let projection = if from == to { 0 } else { a * b };
    Size { weights: convolutions + 2 * normalized + projection, kept }
}

#[cfg(test)]
mod tests {
    use parareal::exec::Layout;
    use parareal::net::Cuts;
    use parareal::plan::{CostModel, Scenario};

    use crate::resnet::{CoarseKind, PaperRow, ResNet, ResNetCosts, Summary};

    #[test]
    fn weights_are_those_of_the_modules() {
        for kind in [CoarseKind::Basic, CoarseKind::Bottleneck, CoarseKind::Depthwise] {
            let net = ResNet::new(56).unwrap().with_coarse_kind(kind).with_classes(7);
            let cuts = Cuts::new(18, vec![2, 6, 9, 11]).unwrap();
            let expected = Summary::new(&net, &cuts).unwrap().parameters;
            let costs = ResNetCosts::paper(&net, PaperRow::nearest(5), 0.5);
            let layout = Layout::threads(5, 1, 1).unwrap();
            let scenario = Scenario::new(&costs, &cuts, layout).unwrap();
            let total: f64 =
                scenario.subnetworks.iter().map(|subnetwork| subnetwork.total().weights).sum();
            assert_eq!(total, 4.0 * expected.total as f64, "{kind}");
            let units: f64 = (0..18).map(|unit| costs.unit(unit).weights).sum();
            assert_eq!(units, 4.0 * expected.per_subnetwork.iter().sum::<usize>() as f64);
        }
    }
}
