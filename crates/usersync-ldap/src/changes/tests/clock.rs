//! Generalized time, to the second.

use proptest::prelude::*;

use crate::changes::poll::clock::{second, seconds, text};

#[test]
fn times_that_are_known() {
    for (at, time) in [
        (0, "19700101000000Z"),
        (951_782_400, "20000229000000Z"),
        (1_709_251_199, "20240229235959Z"),
        (4_107_542_400, "21000301000000Z"),
        (1_795_275_618, "20261121154018Z"),
    ] {
        assert_eq!(text(at), time);
        assert_eq!(seconds(time), Some(at), "{time}");
    }
    assert_eq!(text(u64::MAX)[..8], *"99991231");
    // As Active Directory writes it.
    assert_eq!(second("20261121154018.0Z").as_deref(), Some("20261121154018Z"));
    for time in [
        "",
        "2026",
        "20261121154018",
        "20261121154018+0100",
        "20261321154018Z",
        "2026112115401éZ",
        "19691231235959Z",
    ] {
        assert_eq!(seconds(time), None, "{time}");
    }
}

proptest! {
    #[test]
    fn times_are_read_back_and_in_order(a in 0..253_402_300_800_u64, b in 0..253_402_300_800_u64) {
        prop_assert_eq!(seconds(&text(a)), Some(a));
        prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
    }

    #[test]
    fn no_text_panics(time: String) {
        let _ = second(&time);
    }
}
