use std::time::Duration;

use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_GENERAL_ERROR, CKR_OK};

use super::*;
use crate::rv::Rv;

fn faults(text: &str) -> (tempfile::TempDir, Faults) {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), text).unwrap();
    let faults = Faults::of(folder.path());
    (folder, faults)
}

#[test]
fn after_and_times_count_calls_of_the_named_function_only() {
    let (_folder, mut faults) =
        faults("[[rule]]\nfunction = \"C_Sign\"\nafter = 1\ntimes = 2\nreturn = \"CKR_DEVICE_ERROR\"\n");
    let mut answers = Vec::new();
    for _ in 0..5 {
        assert_eq!(faults.next("C_Verify").unwrap(), Verdict::default());
        answers.push(faults.next("C_Sign").unwrap().answer);
    }
    assert_eq!(answers, [None, Some(CKR_DEVICE_ERROR), Some(CKR_DEVICE_ERROR), None, None]);
}

#[test]
fn first_rule_that_applies_wins_and_the_others_still_count() {
    let (_folder, mut faults) = faults(
        "[[rule]]\nfunction = \"*\"\ntimes = 1\nlatency_ms = 7\n\n[[rule]]\nfunction = \"C_Sign\"\nafter = 1\nreturn = 0x30\n",
    );
    let first = faults.next("C_Sign").unwrap();
    assert_eq!((first.latency, first.answer), (Duration::from_millis(7), None));
    assert_eq!(faults.next("C_Sign").unwrap().answer, Some(0x30));
}

#[test]
fn changed_text_starts_counting_anew_and_a_missing_file_is_no_plan() {
    let (folder, mut faults) = faults("[[rule]]\nfunction = \"C_Sign\"\ntimes = 1\nreturn = \"CKR_DEVICE_ERROR\"\n");
    assert!(faults.next("C_Sign").unwrap().answer.is_some());
    assert!(faults.next("C_Sign").unwrap().answer.is_none());
    write_plan(folder.path(), "[[rule]]\nfunction = \"C_Sign\"\ntimes = 1\nreturn = \"CKR_DEVICE_MEMORY\"\n").unwrap();
    assert!(faults.next("C_Sign").unwrap().answer.is_some());
    std::fs::remove_file(folder.path().join(FAULTS_FILE)).unwrap();
    assert_eq!(faults.next("C_Sign").unwrap(), Verdict::default());
}

#[test]
fn broken_plan_refuses_every_call_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("[[rule]]\nfuncton = \"C_Sign\"\n", "functon"),
        ("[[rule]]\nfunction = \"C_Sing\"\n", "C_Sing"),
        ("[[rule]]\nfunction = \"C_Sign\"\nreturn = \"CKR_NO_SUCH\"\n", "CKR_NO_SUCH"),
        ("[[rule]]\nfunction = \"C_Sign\"\nwork_done = true\n", "work_done"),
        ("[quirks]\nmax_session = 1\n", "max_session"),
    ];
    for (text, named) in cases {
        let refused = write_plan(folder.path(), text).unwrap_err();
        assert!(refused.to_string().contains(named), "{refused}");
        std::fs::write(folder.path().join(FAULTS_FILE), text).unwrap();
        let mut faults = Faults::of(folder.path());
        assert_eq!(faults.next("C_Sign"), Err(Rv(CKR_GENERAL_ERROR)));
        assert_eq!(faults.next("C_Sign"), Err(Rv(CKR_GENERAL_ERROR)));
        let reason = std::fs::read_to_string(folder.path().join(ERROR_FILE)).unwrap();
        assert!(reason.contains(named), "{reason}");
        write_plan(folder.path(), "removed = true\n").unwrap();
        assert!(faults.next("C_Sign").unwrap().removed);
        assert!(!folder.path().join(ERROR_FILE).exists());
    }
}

#[test]
fn names_and_numbers_of_codes_agree() {
    assert_eq!(rv::code("CKR_DEVICE_ERROR"), Some(CKR_DEVICE_ERROR));
    assert_eq!(rv::name(CKR_OK), "CKR_OK");
    assert_eq!(rv::name(0x7fff_fff0), "0x7ffffff0");
}
