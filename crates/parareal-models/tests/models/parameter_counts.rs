//! The numbers of parameters in the paper's Table 1, and those of the other networks beside the published ones.

use parareal_models::{ImageNetwork, ParameterCounts, Summary, UnitKind};

fn counts(subnetworks: usize, classes: usize) -> ParameterCounts {
    let net =
        ImageNetwork::resnet(1001).unwrap().with_classes(classes).with_coarse_kind(UnitKind::Basic);
    Summary::new(&net, &net.default_cuts(subnetworks).unwrap()).unwrap().parameters
}

#[test]
fn the_original_network_has_10_3_million() {
    assert_eq!(counts(1, 10).original, 10_327_706);
    let serial = counts(1, 100);
    assert_eq!(serial.original, 10_350_836);
    assert_eq!(serial.total, serial.original);
    assert_eq!(serial.coarse, 0);
}

#[test]
fn wide_networks_have_the_published_numbers() {
    // arXiv 1605.07146 prints 2.7M, 11.0M and 36.5M.
    for (depth, widening, expected) in
        [(16, 4, 2_748_890), (16, 8, 10_961_370), (28, 10, 36_479_194)]
    {
        let net = ImageNetwork::wide_resnet(depth, widening).unwrap();
        let counts = Summary::new(&net, &net.default_cuts(1).unwrap()).unwrap().parameters;
        assert_eq!(counts.original, expected, "WRN-{depth}-{widening}");
    }
}

#[test]
fn other_networks_have_the_published_numbers() {
    // torchvision prints 25,557,032, 44,549,160 and 60,192,808 for the ResNets. Its VGG-16 with batch normalization has
    // 138,365,992, of which 4,224 are biases of convolutions, which ours does not have. VGG-16 for CIFAR has one linear
    // layer: 14.7M. DeiT (arXiv 2012.12877) prints 5M and 22M; ours has no class token, and so one position less.
    for (name, size, classes, expected) in [
        ("vgg16", 32, 10, 14_724_042),
        ("vgg16", 224, 1000, 138_361_768),
        ("resnet50", 224, 1000, 25_557_032),
        ("resnet101", 224, 1000, 44_549_160),
        ("resnet152", 224, 1000, 60_192_808),
        ("vit-tiny", 224, 1000, 5_717_416 - 2 * 192),
        ("vit-small", 224, 1000, 22_050_664 - 2 * 384),
    ] {
        let net = ImageNetwork::sized(name.parse().unwrap(), size).unwrap().with_classes(classes);
        assert_eq!(net.parameters(), expected, "{name} at {size}");
    }
}

#[test]
fn parareal_networks_have_what_table_1_says() {
    let printed = [
        (3, "3.4", "5.6", 15.9),
        (6, "1.7", "5.7", 16.1),
        (12, "0.9", "5.8", 16.2),
        (18, "0.6", "8.9", 19.4),
    ];
    for (subnetworks, per_subnetwork, coarse, total) in printed {
        let counts = counts(subnetworks, 100);
        let mean = counts.per_subnetwork.iter().sum::<usize>() as f64 / subnetworks as f64;
        assert_eq!(format!("{:.1}", mean / 1e6), per_subnetwork, "N = {subnetworks}");
        assert_eq!(format!("{:.1}", counts.coarse as f64 / 1e6), coarse, "N = {subnetworks}");
        let found = counts.total as f64 / 1e6;
        assert!((found / total - 1.0).abs() < 0.01, "N = {subnetworks}: {found} M");
        assert_eq!(counts.original, 10_350_836);
    }
}
