//! Plans as JSON, and their renderings.

use serde::Deserialize;
use usersync::model::Digest;
use usersync::reconcile::{
    Drafts, Envelope, Header, Plan, PlanError, Policy, RenderOptions, Section, render_html, render_markdown,
    render_table,
};

use crate::{is_fit_to_show, parts};

/// What a plan is made of, so that a fuzzer need not find digests.
#[derive(Deserialize)]
struct Made {
    header: Header,
    envelope: Envelope,
    sections: Vec<Section>,
    policy: Policy,
    used: u64,
    approved: Option<Digest>,
}

/// The JSON of a plan, or of what one is made of; and where that is changed afterwards: a place, and what is put there.
pub fn plan(data: &[u8]) {
    let [json, place, put] = parts(data);
    let Ok(text) = std::str::from_utf8(json) else {
        return;
    };
    let read = Plan::from_json(text);
    match &read {
        Ok(plan) => check(plan),
        Err(error) => is_fit_to_show(error),
    }
    let Ok(made) = serde_json::from_str::<Made>(text) else {
        return;
    };
    let mut drafts = Drafts::default();
    for mut section in made.sections {
        // Counts of things that were seen, of which there are never that many.
        let tally = &mut section.tally;
        for count in [
            &mut tally.desired,
            &mut tally.present,
            &mut tally.removable,
            &mut tally.foreign,
        ] {
            *count = (*count).min(1 << 40);
        }
        drafts.push(section);
    }
    let plan = Plan::assemble(
        made.header,
        made.envelope,
        drafts,
        &made.policy,
        made.used,
        made.approved,
    );
    check(&plan);
    changed(&plan, place, put);
}

fn check(plan: &Plan) {
    let json = plan.to_json();
    let read = Plan::from_json(&json).expect("a plan can be read back");
    assert_eq!(&read, plan);
    assert_eq!(read.to_json(), json);
    assert_eq!(
        (read.digest(), read.held_digest()),
        (plan.digest(), plan.held_digest())
    );
    let summary = plan.summary();
    assert_eq!(plan.held_digest().is_some(), summary.approvable > 0);
    for options in [
        RenderOptions::default(),
        RenderOptions {
            containers: 1,
            entries: 1,
            width: 20,
        },
    ] {
        // Lines and spaces are all that is not seen.
        let shows = |text: &str| {
            let lines = text.replace('\n', " ");
            assert_eq!(usersync::model::visible(&lines), lines);
        };
        let table = render_table(plan, &options);
        let markdown = render_markdown(plan, &options);
        let html = render_html(plan, &options);
        [&table, &markdown, &html]
            .into_iter()
            .for_each(|text| shows(text));
        tags_are_ours(&html);
        assert!(!markdown.contains(['<', '>']), "{markdown}");
    }
}

/// Every tag of the page is one that the page is made of, and every `&` begins an escape.
fn tags_are_ours(html: &str) {
    const TAGS: &str = " !DOCTYPE article b bdi body code dd div dl dt h1 h2 h3 head header html li main meta p section span \
                        style title ul ";
    let body = html.split_once("</style>").map_or(html, |(_, body)| body);
    for tag in body.split('<').skip(1) {
        let name = tag.trim_start_matches('/');
        let end = name.find([' ', '>', '/']).unwrap_or(name.len());
        let name = &name[..end];
        assert!(TAGS.contains(&format!(" {name} ")), "<{name}>");
    }
    for escape in body.split('&').skip(1) {
        assert!(
            ["amp;", "lt;", "gt;", "quot;"]
                .iter()
                .any(|known| escape.starts_with(known)),
            "&{escape:.9}"
        );
    }
}

/// A plan that was changed is refused, or says what it said before.
fn changed(plan: &Plan, place: &[u8], put: &[u8]) {
    let json = plan.to_json();
    let place = place.iter().fold(0, |place: usize, &b| {
        place.wrapping_mul(31).wrapping_add(b.into())
    }) % json.len();
    let Ok(put) = std::str::from_utf8(put) else {
        return;
    };
    let end = (place + put.len()).min(json.len());
    let (Some(before), Some(after)) = (json.get(..place), json.get(end..)) else {
        return;
    };
    match Plan::from_json(&format!("{before}{put}{after}")) {
        Ok(read) => assert_eq!(&read, plan),
        Err(error) => {
            is_fit_to_show(&error);
            assert!(!matches!(error, PlanError::Newer { found: 0 | 1 }));
        }
    }
}
