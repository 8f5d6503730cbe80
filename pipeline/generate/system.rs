//! The services of a synthetic system and who calls whom.

/// What a service is besides its requests; decides about extra metrics and log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends every request to exactly one of its callees.
    Gateway,
    Stateless,
    Database,
    Cache,
    Queue,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub role: Role,
    pub replicas: usize,
    /// Time spent in the service itself per request, without load.
    pub self_ms: f64,
    /// Processor time per request.
    pub cpu_ms: f64,
    /// Resident memory per replica when idle.
    pub memory_mib: f64,
    /// Log lines per request; small, because logs are sampled like traces.
    pub lines_per_request: f64,
    pub operation: String,
    pub calls: Vec<Call>,
}

#[derive(Clone, Debug)]
pub struct Call {
    /// Position of the callee in the system.
    pub callee: usize,
    /// Calls per request of the caller; a gateway's are the shares of its routes.
    pub per_request: f64,
}

/// Services with callers before their callees.
#[derive(Clone, Debug)]
pub struct System {
    pub services: Vec<Service>,
    /// Requests per second at the first service, averaged over a day.
    pub requests_per_second: f64,
}

impl System {
    pub fn position(&self, name: &str) -> Option<usize> {
        self.services.iter().position(|s| s.name == name)
    }

    /// (caller, callee) by name, in the order of the services.
    pub fn edges(&self) -> Vec<(String, String)> {
        let name = |i: usize| self.services[i].name.clone();
        let of = |(i, s): (usize, &Service)| -> Vec<(String, String)> {
            s.calls.iter().map(|c| (name(i), name(c.callee))).collect()
        };
        self.services.iter().enumerate().flat_map(of).collect()
    }

    /// A shop that sells seeds and garden tools.
    pub fn shop() -> Self {
        use Role::*;
        // Own and processor time per request in ms, idle memory in MiB, log lines per request.
        let services = vec![
            service("gate", Gateway, 3, [3.0, 1.6, 180.0, 0.0012], "route request").calls(&[
                (1, 0.4),
                (2, 0.22),
                (3, 0.14),
                (4, 0.12),
                (5, 0.12),
            ]),
            service("shelf", Stateless, 3, [14.0, 6.0, 420.0, 0.0012], "GET /shelf/{aisle}")
                .calls(&[(8, 0.6), (10, 1.0), (9, 0.3)]),
            service("finder", Stateless, 2, [22.0, 11.0, 760.0, 0.002], "GET /find")
                .calls(&[(10, 0.8), (9, 0.4)]),
            service("tote", Stateless, 2, [8.0, 4.0, 300.0, 0.002], "PUT /tote/{id}")
                .calls(&[(10, 1.5), (8, 0.5)]),
            service("till", Stateless, 2, [18.0, 9.0, 380.0, 0.006], "POST /till").calls(&[
                (7, 1.0),
                (8, 1.0),
                (11, 1.0),
            ]),
            service("visitor", Stateless, 2, [9.0, 5.0, 260.0, 0.003], "GET /visitor/me")
                .calls(&[(10, 0.7), (9, 0.3)]),
            service("courier", Stateless, 2, [25.0, 10.0, 240.0, 0.01], "deliver parcel")
                .calls(&[(11, 1.0), (9, 1.0)]),
            service("ledger", Stateless, 3, [30.0, 8.0, 350.0, 0.007], "POST /charge")
                .calls(&[(9, 1.2)]),
            service("stockroom", Stateless, 2, [10.0, 5.0, 310.0, 0.0015], "GET /stock/{sku}")
                .calls(&[(9, 0.8)]),
            service("vault-db", Database, 2, [6.0, 3.0, 3_200.0, 0.0006], "query"),
            service("hot-cache", Cache, 2, [0.8, 0.3, 900.0, 0.0003], "get"),
            service("relay-queue", Queue, 1, [1.5, 0.6, 500.0, 0.004], "publish"),
        ];
        Self { services, requests_per_second: 110.0 }
    }
}

fn service(name: &str, role: Role, replicas: usize, numbers: [f64; 4], operation: &str) -> Service {
    let [self_ms, cpu_ms, memory_mib, lines_per_request] = numbers;
    Service {
        name: name.to_owned(),
        role,
        replicas,
        self_ms,
        cpu_ms,
        memory_mib,
        lines_per_request,
        operation: operation.to_owned(),
        calls: Vec::new(),
    }
}

impl Service {
    fn calls(mut self, calls: &[(usize, f64)]) -> Self {
        let call = |&(callee, per_request)| Call { callee, per_request };
        self.calls = calls.iter().map(call).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_come_before_callees_and_routes_add_up() {
        let shop = System::shop();
        for (i, service) in shop.services.iter().enumerate() {
            assert!(service.calls.iter().all(|c| c.callee > i), "{}", service.name);
        }
        let shares: f64 = shop.services[0].calls.iter().map(|c| c.per_request).sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }
}
