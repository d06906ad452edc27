//! Scenarios as criterion's benches.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

use crate::scenario::{self, Size};

/// Measures the scenarios of a family, at the size that `USERSYNC_BENCH_SIZE` asks for.
pub fn family(family: &str) {
    let mut criterion = Criterion::default().configure_from_args();
    let size = Size::wanted();
    for scenario in scenario::all().into_iter().filter(|one| one.family() == family) {
        let items = scenario.items(size);
        let mut group = criterion.benchmark_group(scenario.name);
        group
            .sample_size(10)
            .sampling_mode(SamplingMode::Auto)
            .measurement_time(Duration::from_secs(3))
            .throughput(Throughput::Elements(items));
        for mut way in (scenario.prepare)(items) {
            let name = format!("{:?}: {}", way.part, way.name).to_lowercase();
            group.bench_function(BenchmarkId::new(name, items), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| way.once()).sum());
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
