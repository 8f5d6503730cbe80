//! Calls that labels of metrics tell of: service meshes, proxies and service graphs name who calls
//! and who is called.

use super::family;
use super::telemetry::Series;

/// Labels that name who calls: of Istio, Linkerd, Consul and the service graphs of traces.
const CALLERS: [&str; 9] = [
    "source_workload",
    "source_app",
    "source_canonical_service",
    "source_service",
    "source",
    "client",
    "client_service",
    "caller",
    "downstream",
];

/// Labels that name who is called.
const CALLEES: [&str; 13] = [
    "destination_workload",
    "destination_app",
    "destination_canonical_service",
    "destination_service_name",
    "destination_service",
    "destination",
    "dst_deployment",
    "dst_service",
    "server",
    "server_service",
    "callee",
    "upstream",
    "peer_service",
];

/// `(caller, callee)` of what a series measures. Who is not named is the service that it is of;
/// none where that is no call between two known services.
pub fn call(series: &Series, known: impl Fn(&str) -> Option<usize>) -> Option<(usize, usize)> {
    if series.labels.is_empty() {
        return None;
    }
    let named = |keys: &[&str]| {
        let pairs = family::labels(&series.labels);
        let mut values = pairs.filter(|(key, _)| keys.contains(key)).map(|(_, value)| value);
        values.find_map(|value| {
            let name = value.trim_matches(|c: char| c == '"' || c.is_whitespace());
            // `reviews.shop.svc.cluster.local` is the service `reviews`.
            known(name).or_else(|| known(name.split('.').next()?))
        })
    };
    let (caller, callee) = (named(&CALLERS), named(&CALLEES));
    caller.or(callee)?;
    let own = known(&series.service);
    let call = (caller.or(own)?, callee.or(own)?);
    (call.0 != call.1).then_some(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_meshes_name_the_ends_of_calls() {
        let names = ["web", "api", "db"];
        let of = |service: &str, labels: &str| {
            let series = Series {
                service: service.to_owned(),
                instance: String::new(),
                metric: "requests_total".to_owned(),
                labels: labels.to_owned(),
                is_rate: true,
                told: 0.0,
                points: Vec::new(),
            };
            call(&series, |name| names.iter().position(|n| *n == name))
        };
        assert_eq!(of("api", "source_workload=web,response_code=500"), Some((0, 1)));
        assert_eq!(
            of("api", r#"reporter="source",destination_service="db.shop.svc""#),
            Some((1, 2))
        );
        let both = "source_app=web,destination_app=api";
        assert_eq!((of("web", both), of("api", both)), (Some((0, 1)), Some((0, 1))));
        assert_eq!(of("tempo", "client=web,server=db"), Some((0, 2)), "told by a third");
        for labels in ["", "source_workload=api", "source_workload=unknown", "code=200,le=0.1"] {
            assert_eq!(of("api", labels), None, "{labels}");
        }
    }
}
