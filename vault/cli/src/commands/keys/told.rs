//! How far a job over keys has come, and what was retired, in words and as JSON.

use cofre_client::people::RetiredKeys;
use cofre_proto::v1::{KeyJob, OwnersKeys};
use serde_json::{Value, json};

use crate::answer::{Answer, entry_json, printable};

/// Cells of the bar.
const WIDTH: u64 = 40;

/// Looks in a row that have to find only failures before a job is given up. What failed may be nobody's, and the job ends all
/// the same: in that pass, or in the next one, a second later.
const SURE: u32 = 5;

/// Whether a job is still waited for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Looks in a row that found only failures.
    in_vain: u32,
}

impl Waiting {
    /// Whether this look was the last one: the job has ended, or all that is left of it has failed for a while.
    pub(super) fn is_over(&mut self, job: &KeyJob) -> bool {
        self.in_vain = if has_only_failed(job) { self.in_vain.saturating_add(1) } else { 0 };
        job.state != "RUNNING" || self.in_vain >= SURE
    }
}

/// Whether all that is left of a job has failed: keys of a rewrap, tenants of a rotation, whose owners' keys are not counted
/// here.
fn has_only_failed(job: &KeyJob) -> bool {
    job.left > 0 && job.failed >= job.left
}

/// One line: a bar, then what is done, failed and left, how fast, and how long it still takes. The bar is of owners' keys
/// where all that are left were counted.
pub(super) fn bar_text(job: &KeyJob) -> String {
    let (moved, left) = match &job.owners_keys {
        Some(keys) if keys.moved > 0 && !keys.more => (keys.moved, keys.left),
        _ => (job.moved, job.left),
    };
    let all = moved.saturating_add(left).max(1);
    let full = WIDTH.saturating_mul(moved) / all;
    let cells: String = (0..WIDTH).map(|cell| if cell < full { '#' } else { '.' }).collect();
    format!("[{cells}] {}", figures(job))
}

fn figures(job: &KeyJob) -> String {
    let time = match job.secs_left {
        None => "time left unknown".to_owned(),
        Some(secs) => format!("{}:{:02}:{:02} left", secs / 3_600, secs / 60 % 60, secs % 60),
    };
    let rate = |rate: u64| format!("{}.{:03}/s", rate / 1_000, rate % 1_000);
    let KeyJob { moved, failed, left, .. } = job;
    match &job.owners_keys {
        None => format!("{moved} moved, {failed} failed, {left} left, {}, {time}", rate(job.per_thousand_secs)),
        Some(OwnersKeys { moved: keys, left: keys_left, more, per_thousand_secs }) => {
            let or_more = if *more { " or more" } else { "" };
            format!(
                "{moved} tenants done, {failed} failed, {left} left; {keys} keys moved, {keys_left}{or_more} left, {}, {time}",
                rate(*per_thousand_secs)
            )
        }
    }
}

pub(super) fn retired_answer(retired: &RetiredKeys, what: &str) -> Answer {
    let (counted, entry) = (&retired.counted, &retired.entry);
    let mut text = format!(
        "retired {} shares of {what}: counted zero in ledger entry {}, retired in {} at {}",
        retired.shares, counted.index, entry.index, entry.time
    );
    if retired.kept > 0 {
        text.push_str(&format!("\n{} tenants keep theirs; the log of the node says why", retired.kept));
    }
    if retired.more {
        text.push_str("\nnot all were reached in time; give the command again, it goes on");
    }
    let json = json!({
        "done": "retired", "custodian": what, "shares": retired.shares, "kept": retired.kept, "more": retired.more,
        "counted": entry_json(counted), "entry": entry_json(entry), "statement": hex::encode(&retired.statement),
    });
    Answer::new(text, json)
}

pub(super) fn job_text(job: &KeyJob) -> String {
    let mut text = format!("{} {} to {}: {}, {}", job.job_id, job.kind, job.target, job.state, figures(job));
    for failure in &job.failures {
        text.push_str(&format!("\n  {}: {}", failure.item, failure.cause));
    }
    printable(&text)
}

pub(super) fn job_json(job: &KeyJob) -> Value {
    let owners_keys = job.owners_keys.as_ref().map(|keys| {
        json!({
            "moved": keys.moved, "left": keys.left, "more": keys.more, "per_thousand_secs": keys.per_thousand_secs,
        })
    });
    json!({
        "job_id": job.job_id, "kind": job.kind, "target": job.target, "state": job.state,
        "moved": job.moved, "failed": job.failed, "left": job.left, "owners_keys": owners_keys,
        "per_thousand_secs": job.per_thousand_secs, "secs_left": job.secs_left,
        "failures": job.failures.iter()
            .map(|failure| json!({ "item": failure.item, "cause": failure.cause }))
            .collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_waited_for_until_it_has_ended_or_only_failures_are_left_for_a_while() {
        let job = |state: &str, failed, left| KeyJob { state: state.into(), failed, left, ..KeyJob::default() };
        let mut waiting = Waiting::default();
        for _ in 1..SURE {
            assert!(!waiting.is_over(&job("RUNNING", 2, 2)), "they may be nobody's");
        }
        assert!(!waiting.is_over(&job("RUNNING", 2, 3)), "one is being moved");
        for _ in 1..SURE {
            assert!(!waiting.is_over(&job("RUNNING", 2, 2)));
        }
        assert!(waiting.is_over(&job("RUNNING", 2, 2)));
        assert!(Waiting::default().is_over(&job("DONE", 2, 0)));
    }

    #[test]
    fn a_bar_says_how_far_how_fast_and_how_long() {
        let job = KeyJob {
            moved: 25,
            failed: 1,
            left: 75,
            per_thousand_secs: 2_500,
            secs_left: Some(3_723),
            ..KeyJob::default()
        };
        let bar = format!("[{}{}] ", "#".repeat(10), ".".repeat(30));
        assert_eq!(bar_text(&job), bar + "25 moved, 1 failed, 75 left, 2.500/s, 1:02:03 left");
        let fresh = KeyJob { left: 4, ..KeyJob::default() };
        assert!(bar_text(&fresh).ends_with("0 moved, 0 failed, 4 left, 0.000/s, time left unknown"));
        let done = KeyJob { moved: 4, secs_left: Some(0), ..KeyJob::default() };
        assert!(bar_text(&done).starts_with(&format!("[{}] 4 moved", "#".repeat(40))));
    }

    #[test]
    fn a_rotation_is_told_in_tenants_and_in_owners_keys() {
        let keys = OwnersKeys { moved: 750, left: 250, more: false, per_thousand_secs: 20_000_500 };
        let job =
            KeyJob { moved: 1, failed: 1, left: 3, secs_left: Some(9), owners_keys: Some(keys), ..KeyJob::default() };
        let bar = format!("[{}{}] ", "#".repeat(30), ".".repeat(10));
        let told = "1 tenants done, 1 failed, 3 left; 750 keys moved, 250 left, 20000.500/s, 0:00:09 left";
        assert_eq!(bar_text(&job), bar + told);
        let many = KeyJob { owners_keys: Some(OwnersKeys { more: true, ..keys }), ..job };
        assert!(bar_text(&many).starts_with(&format!("[{}{}] ", "#".repeat(10), ".".repeat(30))), "by tenants");
        assert!(bar_text(&many).contains("250 or more left"));
    }
}
