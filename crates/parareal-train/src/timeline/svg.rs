use std::fmt::Write;

use parareal::timeline::{Activity, Span, Timeline};

use super::lanes::{communication, name};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 66.0;

/// Largest font sizes of titles and of other text.
const TITLE: f64 = 15.0;
const TEXT: f64 = 12.0;
/// Average width of a letter, relative to the font size.
const LETTER: f64 = 0.52;

/// Height of a lane of communication, relative to the row of a device's work.
const LANE: f64 = 0.24;

/// Draws a timeline with one row per device, and lanes for communication below each row. Computation, the coarse
/// network and waiting have different colors and patterns. The axis ends at `seconds`.
pub(super) fn svg(timeline: &Timeline, title: &str, seconds: f64) -> String {
    let lanes: Vec<Vec<Vec<Span>>> = (0..timeline.devices)
        .map(|device| communication(timeline.spans.iter().filter(|span| span.device == device)))
        .collect();
    // Every device has room for the same number of lanes, so that all rows have the same height.
    let most = lanes.iter().map(Vec::len).max().unwrap_or(0);
    let room = (420.0 / timeline.devices.max(1) as f64).clamp(10.0, 34.0);
    let (work, gap) = (0.84 * room, 0.16 * room);
    let row = work * (1.0 + LANE * most as f64) + gap;
    let bottom = TOP + row * timeline.devices as f64;
    let height = bottom + 40.0;
    let end = seconds.max(f64::MIN_POSITIVE);
    // The duration is at the right end of the title's line.
    let letters = title.chars().count().max(1) as f64;
    let title_size = ((WIDTH - LEFT - RIGHT - 90.0) / (LETTER * letters)).min(TITLE);
    let label_size = row.min(TEXT);
    let x = |time: f64| LEFT + time / end * (WIDTH - LEFT - RIGHT);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"{TEXT}\" role=\"img\" aria-label=\"{0}\">\n\
         <defs><pattern id=\"idle\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#f4f4f4\"/>\
         <rect width=\"1.4\" height=\"6\" fill=\"#c9c9c9\"/></pattern></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"{title_size:.1}\" fill=\"#1a1a1a\">{0}</text>\n\
         <text x=\"{1}\" y=\"22\" font-size=\"{TITLE}\" text-anchor=\"end\" fill=\"#1a1a1a\">{2:.1} \
         ms</text>\n",
        escaped(title),
        WIDTH - RIGHT,
        1e3 * timeline.end(),
    );
    legend(&mut out, timeline);
    for (device, lanes) in lanes.iter().enumerate() {
        let y = TOP + row * device as f64;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{label_size:.1}\" text-anchor=\"end\" \
             fill=\"#1a1a1a\">device {}</text>",
            LEFT - 8.0,
            y + work / 2.0 + label_size / 3.0,
            device + 1
        );
        let rect = |from: f64, to: f64, y: f64, height: f64, fill: &str, text: &str| {
            format!(
                "<rect x=\"{:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{height:.2}\" \
                 fill=\"{fill}\"><title>{text}</title></rect>",
                x(from),
                (x(to) - x(from)).max(0.25)
            )
        };
        for [begin, end] in timeline.waiting(device) {
            let text = format!("waiting, {:.2} ms", 1e3 * (end - begin));
            let _ = writeln!(out, "{}", rect(begin, end, y, work, "url(#idle)", &text));
        }
        let mut draw = |span: &Span, y: f64, height: f64| {
            let text = format!(
                "{}, subnetwork {}, {:.2} to {:.2} ms",
                name(span.activity),
                span.subnetwork + 1,
                1e3 * span.begin,
                1e3 * span.end
            );
            let fill = color(span.activity);
            let _ = writeln!(out, "{}", rect(span.begin, span.end, y, height, fill, &text));
        };
        let own = timeline.spans.iter().filter(|span| span.device == device);
        own.filter(|span| span.activity.is_work()).for_each(|span| draw(span, y, work));
        for (lane, spans) in lanes.iter().enumerate() {
            let y = y + work * (1.0 + LANE * lane as f64);
            spans.iter().for_each(|span| draw(span, y, work * LANE));
        }
    }
    axis(&mut out, end, bottom, x);
    out.push_str("</svg>\n");
    out
}

/// Returns the color of an activity, from a palette that is safe for color blindness (Okabe and Ito).
fn color(activity: Activity) -> &'static str {
    match activity {
        Activity::FineForward => "#56b4e9",
        Activity::Recompute => "#b3a2d9",
        Activity::FineBackward => "#0072b2",
        Activity::ChainForward | Activity::ChainBackward => "#d55e00",
        Activity::ChainWeights => "#f2b27f",
        Activity::Head => "#009e73",
        Activity::Update => "#5a5a5a",
        Activity::Replay => "#e69f00",
        Activity::Transfer => "#cc79a7",
        Activity::Reduce => "#f0e442",
    }
}

/// Draws the legend for the kinds of spans that occur.
fn legend(out: &mut String, timeline: &Timeline) {
    let kinds = [
        (Activity::FineForward, "fine, forward"),
        (Activity::Recompute, "recomputed"),
        (Activity::FineBackward, "backward"),
        (Activity::ChainForward, "coarse"),
        (Activity::ChainWeights, "coarse weights"),
        (Activity::Head, "h, loss"),
        (Activity::Update, "update"),
        (Activity::Replay, "recorded passes"),
        (Activity::Transfer, "transfer"),
        (Activity::Reduce, "all-reduce"),
    ];
    let occurs = |activity| timeline.spans.iter().any(|span| span.activity == activity);
    let kinds = kinds.into_iter().filter(|&(activity, _)| occurs(activity));
    let kinds = kinds.map(|(activity, text)| (color(activity), text));
    let mut x = LEFT;
    for (fill, text) in kinds.chain([("url(#idle)", "waiting")]) {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.0}\" y=\"36\" width=\"14\" height=\"12\" fill=\"{fill}\" \
             stroke=\"#999999\" stroke-width=\"0.5\"/>\
             <text x=\"{:.0}\" y=\"46\" fill=\"#1a1a1a\">{text}</text>",
            x + 19.0
        );
        x += 36.0 + 6.3 * text.len() as f64;
    }
}

/// Draws the axis in milliseconds, with ticks at round values.
fn axis(out: &mut String, end: f64, y: f64, x: impl Fn(f64) -> f64) {
    let milliseconds = 1e3 * end;
    let magnitude = 10f64.powf((milliseconds / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    let step = step.into_iter().find(|step| milliseconds / step <= 8.0).unwrap_or(milliseconds);
    let mut tick = 0.0;
    while tick <= milliseconds {
        let at = x(tick / 1e3);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#00000022\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">{}</text>",
            y + 4.0,
            y + 20.0,
            (tick * 1e6).round() / 1e6
        );
        tick += step;
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444444\">ms</text>",
        WIDTH - RIGHT,
        y + 36.0
    );
}

fn escaped(text: &str) -> String {
    let text = text.replace(char::is_control, "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a picture of this many devices, each with one activity.
    fn picture(devices: usize, title: &str) -> String {
        let span = |device| Span {
            device,
            subnetwork: device,
            activity: Activity::FineForward,
            begin: 0.0,
            end: 1.0,
        };
        svg(&Timeline { devices, spans: (0..devices).map(span).collect() }, title, 1.0)
    }

    /// Returns the number after `before` in each line that contains `line`.
    fn numbers(picture: &str, line: &str, before: &str) -> Vec<f64> {
        let lines = picture.lines().filter(|found| found.contains(line));
        let number = |line: &str| {
            let (_, rest) = line.split_once(before).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        lines.map(number).collect()
    }

    #[test]
    fn labels_of_many_devices_do_not_overlap() {
        for devices in [1, 6, 12, 64, 300] {
            let picture = picture(devices, "title");
            let at = numbers(&picture, ">device ", " y=\"");
            let size = numbers(&picture, ">device ", "font-size=\"");
            assert_eq!(at.len(), devices);
            assert!(size.iter().all(|&size| (8.0..=TEXT).contains(&size)), "{size:?}");
            for (pair, size) in at.windows(2).zip(&size) {
                assert!(pair[1] - pair[0] >= size - 0.1, "{devices}: {pair:?}");
            }
        }
    }

    #[test]
    fn long_titles_end_before_the_duration() {
        for letters in [1, 60, 150, 400] {
            let title = "x".repeat(letters);
            let picture = picture(1, &title);
            let size = numbers(&picture, &format!(">{title}<"), "font-size=\"")[0];
            assert!(size <= TITLE && LEFT + LETTER * size * letters as f64 <= WIDTH - RIGHT - 85.0);
        }
        assert!(picture(1, "a <b> & \"c\"").contains("a &lt;b> &amp; &quot;c&quot;"));
    }
}
