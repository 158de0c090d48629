use parareal::timeline::{Activity, Timeline};
use serde_json::{Value, json};

use super::lanes::{communication, name};

/// ID of the only process of a trace. Viewers show a thread with the same ID as the main thread, so threads are
/// numbered from the next ID.
const PROCESS: usize = 1;

/// Returns a timeline as Chrome trace events. Each device has a thread with its work and its
/// waiting time, followed by threads for its communication, which overlaps work.
///
/// Times are whole microseconds. A viewer would round fractions separately for the begin and the
/// duration, and consecutive events would overlap.
pub(super) fn chrome_trace(timeline: &Timeline, title: &str) -> String {
    let mut trace = Trace { events: Vec::new(), thread: PROCESS };
    trace.metadata("process_name", json!({ "name": title }));
    for device in 0..timeline.devices {
        trace.begin_thread(&format!("device {}", device + 1));
        for gap in timeline.waiting(device) {
            trace.event("waiting", "waiting", gap, json!({}));
        }
        let own = || timeline.spans.iter().filter(move |span| span.device == device);
        for span in own().filter(|span| span.activity.is_work()) {
            let kind = if span.activity.is_coarse() { "coarse" } else { "compute" };
            trace.span(span.activity, kind, span.subnetwork, [span.begin, span.end]);
        }
        for lane in communication(own()) {
            let what = lane.first().map_or("", |span| name(span.activity));
            trace.begin_thread(&format!("device {}, {what}", device + 1));
            for span in lane {
                let times = [span.begin, span.end];
                trace.span(span.activity, "communication", span.subnetwork, times);
            }
        }
    }
    json!({ "traceEvents": trace.events, "displayTimeUnit": "ms" }).to_string()
}

struct Trace {
    events: Vec<Value>,
    /// The current thread.
    thread: usize,
}

impl Trace {
    fn metadata(&mut self, what: &str, arguments: Value) {
        self.events.push(json!({ "ph": "M", "pid": PROCESS, "tid": self.thread, "name": what,
                                 "args": arguments }));
    }

    fn begin_thread(&mut self, label: &str) {
        self.thread += 1;
        self.metadata("thread_name", json!({ "name": label }));
        self.metadata("thread_sort_index", json!({ "sort_index": self.thread }));
    }

    fn span(&mut self, activity: Activity, kind: &str, subnetwork: usize, times: [f64; 2]) {
        self.event(name(activity), kind, times, json!({ "subnetwork": subnetwork + 1 }));
    }

    fn event(&mut self, name: &str, kind: &str, times: [f64; 2], arguments: Value) {
        let [begin, end] = times.map(|seconds| (1e6 * seconds).round() as u64);
        self.events.push(json!({ "ph": "X", "pid": PROCESS, "tid": self.thread, "name": name,
                                 "cat": kind, "ts": begin, "dur": end - begin,
                                 "args": arguments }));
    }
}
