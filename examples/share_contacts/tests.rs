//! The acts, which check what they show.

use usersync_examples::screen::Screen;

use crate::acts;

#[test]
fn every_act_ends_as_it_says() {
    acts::play(&Screen::new(true)).expect("the acts check what they show");
}
