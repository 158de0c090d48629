use parareal::timeline::Timeline;
use serde_json::{Value, json};

use super::name;

/// Links are shown behind the devices.
const LINKS: usize = 1_000_000;

/// A timeline as Chrome trace events, in microseconds: a row for each device, one for what it
/// sends, and the time that it waits.
pub(super) fn chrome_trace(timeline: &Timeline, title: &str) -> String {
    let label = |row: usize, text: String| {
        let arguments = json!({ "name": text });
        [
            json!({ "ph": "M", "pid": 1, "tid": row, "name": "thread_name", "args": arguments }),
            json!({ "ph": "M", "pid": 1, "tid": row, "name": "thread_sort_index",
                    "args": { "sort_index": row } }),
        ]
    };
    let mut events: Vec<Value> =
        vec![json!({ "ph": "M", "pid": 1, "name": "process_name", "args": { "name": title } })];
    let event = |row: usize, name: &str, kind: &str, [begin, end]: [f64; 2], arguments: Value| {
        json!({ "ph": "X", "pid": 1, "tid": row, "name": name, "cat": kind, "ts": 1e6 * begin,
                "dur": 1e6 * (end - begin), "args": arguments })
    };
    for device in 0..timeline.devices {
        events.extend(label(device, format!("device {}", device + 1)));
        for gap in timeline.waiting(device) {
            events.push(event(device, "waiting", "waiting", gap, json!({})));
        }
        if timeline.spans.iter().any(|span| span.device == device && !span.activity.is_work()) {
            events.extend(label(LINKS + device, format!("sent by device {}", device + 1)));
        }
    }
    for span in &timeline.spans {
        let (row, kind) = match span.activity.is_work() {
            true if span.activity.is_coarse() => (span.device, "coarse"),
            true => (span.device, "compute"),
            false => (LINKS + span.device, "communication"),
        };
        let subnetwork = json!({ "subnetwork": span.subnetwork + 1 });
        events.push(event(row, name(span.activity), kind, [span.begin, span.end], subnetwork));
    }
    json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string()
}
