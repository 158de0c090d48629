//! Rows for the activities of a device.

use parareal::timeline::{Activity, Span};

/// Distributes the communication of one device over lanes. The spans of a lane are of one kind and do not
/// overlap. A kind whose spans overlap has several lanes.
pub(super) fn communication<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<Vec<Span>> {
    let mut spans: Vec<Span> = spans.filter(|span| !span.activity.is_work()).copied().collect();
    spans.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    let mut lanes: Vec<Vec<Span>> = Vec::new();
    for span in spans {
        let is_free = |lane: &&mut Vec<Span>| {
            let last = lane.last();
            last.is_some_and(|last| last.activity == span.activity && last.end <= span.begin)
        };
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(span),
            None => lanes.push(vec![span]),
        }
    }
    lanes.sort_by_key(|lane| lane.first().map(|span| span.activity == Activity::Reduce));
    lanes
}

/// Returns the name of an activity.
pub(super) fn name(activity: Activity) -> &'static str {
    match activity {
        Activity::FineForward => "fine, forward",
        Activity::ChainForward => "coarse, forward",
        Activity::Head => "h and loss",
        Activity::ChainBackward => "coarse, backward",
        Activity::ChainWeights => "coarse, gradients of weights",
        Activity::Recompute => "fine, recomputed",
        Activity::FineBackward => "fine, backward",
        Activity::Replay => "recorded passes",
        Activity::Transfer => "transfer",
        Activity::Reduce => "all-reduce",
        Activity::Update => "update",
    }
}
