//! A plan as one page of HTML.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use usersync_model::visible;

use super::RenderOptions;
use super::view::{ContainerView, Entry, HoldGroup, Tone, View};
use crate::plan::Plan;

const STYLE: &str = include_str!("page.css");

/// The plan as one page that needs nothing else: no script, no font, no image. It reads well on a small screen, on
/// paper, and in the dark.
///
/// Every text is escaped where it is put into the page.
#[must_use]
pub fn render_html(plan: &Plan, options: &RenderOptions) -> String {
    page(&View::new(plan, options)).into_string()
}

fn page(view: &View<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                // A title holds no elements, so that its direction cannot be told apart; `visible` shows what would turn it.
                title { (visible(&view.title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (summary(view))
                    (warnings(view))
                    (holds(view))
                    (containers(view))
                }
            }
        }
    }
}

fn summary(view: &View<'_>) -> Markup {
    html! {
        header {
            h1 { (text(&view.title)) }
            p.headline { (view.headline) }
            ul.counts {
                @for count in &view.counts {
                    li class=(tone(if count.number == 0 { None } else { Some(count.tone) })) {
                        span.number { (count.number) }
                        " " span.what { (count.what) }
                    }
                }
            }
            dl.facts {
                @for (name, value) in &view.facts {
                    div {
                        dt { (name) }
                        dd { (text(value)) }
                    }
                }
            }
        }
    }
}

fn warnings(view: &View<'_>) -> Markup {
    html! {
        @if !view.warnings.is_empty() || view.more_warnings > 0 {
            section.panel.warnings {
                h2 { "Warnings" }
                ul {
                    @for warning in &view.warnings { li { (text(warning)) } }
                    (more(view.more_warnings))
                }
            }
        }
    }
}

fn holds(view: &View<'_>) -> Markup {
    html! {
        @if !view.holds.is_empty() {
            section.panel.holds {
                h2 { "Waiting" }
                @for group in &view.holds { (hold_group(group)) }
                @if let Some((digest, count)) = &view.approval {
                    div.approval {
                        p {
                            @if *count == 1 { "To let this one change go, approve the digest" }
                            @else { "To let these " (count) " changes go, approve the digest" }
                        }
                        code { (digest) }
                    }
                }
            }
        }
    }
}

fn hold_group(group: &HoldGroup<'_>) -> Markup {
    html! {
        article {
            h3 {
                span.count { (group.count) } " "
                span { (text(&capitalized(&group.cause))) }
            }
            p.next {
                (capitalized(group.next)) "."
                @if !group.is_approvable { " " span.tag { "no approval lifts this" } }
            }
            (entries(&group.entries, group.more()))
        }
    }
}

fn containers(view: &View<'_>) -> Markup {
    html! {
        @for container in &view.containers { (container_section(container)) }
        @if view.more_containers > 0 {
            p.more {
                "… and " (view.more_containers) " more "
                (if view.more_containers == 1 { "container" } else { "containers" })
                ", not listed here"
            }
        }
    }
}

fn container_section(container: &ContainerView<'_>) -> Markup {
    html! {
        section.container {
            h2 { (text(container.name)) " " span.tag { (text(&container.kind)) } }
            p.about {
                (container.tally) " · " span.id { (text(&container.id)) }
                @if let Some(owner) = &container.owner { " · owned by " span.id { (text(owner)) } }
            }
            @for list in &container.lists {
                h3 class=(tone(Some(list.tone))) { (list.heading) " " span.count { (list.count) } }
                (entries(&list.entries, list.more()))
            }
            @if let Some(ledger) = &container.ledger {
                p.about { "In the ledger only: " (ledger) }
            }
        }
    }
}

fn entries(entries: &[Entry<'_>], more_of_them: usize) -> Markup {
    html! {
        ul.entries {
            @for entry in entries {
                li class=(tone(Some(entry.tone))) {
                    span.mark title=(entry.action) { (entry.tone.mark()) }
                    span.who {
                        b { (text(entry.name)) }
                        @if let Some(container) = entry.container {
                            span.where { " in " (text(container)) }
                        }
                        " " span.id { (text(&entry.id)) }
                    }
                    span.why { (text(&entry.why)) }
                }
            }
            (more(more_of_them as u64))
        }
    }
}

fn more(count: u64) -> Markup {
    html! {
        @if count > 0 { li.more { "… and " (count) " more" } }
    }
}

/// Untrusted text: nothing in it is hidden, and its direction stays its own.
fn text(text: &str) -> Markup {
    html! { bdi { (visible(text)) } }
}

fn tone(tone: Option<Tone>) -> &'static str {
    match tone {
        Some(Tone::Add) => "add",
        Some(Tone::Change) => "change",
        Some(Tone::Hold) => "hold",
        Some(Tone::Note) => "note",
        Some(Tone::Remove) => "remove",
        None => "none",
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
