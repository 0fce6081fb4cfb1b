// swift-tools-version: 6.2

import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// For the modules that an event passes through. The tests check exclusive access at run time; the product's hot path
/// spent a thirtieth of its time on that.
let hotPath =
  strict + [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]

let argumentParser: Target.Dependency = .product(
  name: "ArgumentParser", package: "swift-argument-parser")
let configuration: Target.Dependency = .product(
  name: "Configuration", package: "swift-configuration")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let unixSignals: Target.Dependency = .product(
  name: "UnixSignals", package: "swift-service-lifecycle")
let flyingFox: Target.Dependency = .product(name: "FlyingFox", package: "FlyingFox")

let package = Package(
  name: "telemetry-worker",
  products: [
    .executable(name: "telemetry-worker", targets: ["TelemetryWorker"]),
    .executable(name: "telemetry-bench", targets: ["TelemetryBench"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(
      url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["YAML"]),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(
      url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
  ],
  targets: [
    // The C libraries, each behind a module map or a small shim.
    .systemLibrary(
      name: "CRdKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "CMalloc"),
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .target(
      name: "CEventDecoder",
      cxxSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])],
      linkerSettings: [.linkedLibrary("simdjson"), .linkedLibrary("crypto")]),

    // Know nothing of telemetry.
    .target(name: "Threads", swiftSettings: strict),
    .target(name: "Kafka", dependencies: ["CRdKafka"], swiftSettings: hotPath),
    .target(name: "Postgres", dependencies: ["CLibPQ"], swiftSettings: strict),
    .target(name: "Monitoring", dependencies: [logging, flyingFox], swiftSettings: strict),

    // The worker, from the event to the commands.
    .target(name: "Telemetry", dependencies: ["CEventDecoder"], swiftSettings: hotPath),
    .target(
      name: "Store", dependencies: ["Postgres", "Telemetry"],
      resources: [.embedInCode("Migrations")], swiftSettings: strict),
    .target(
      name: "Pipeline",
      dependencies: ["Kafka", "Monitoring", "Postgres", "Store", "Telemetry", "Threads", logging],
      swiftSettings: hotPath),
    .target(
      name: "Coordinator",
      dependencies: ["Monitoring", "Postgres", "Store", "Threads"],
      swiftSettings: strict),
    .executableTarget(
      name: "TelemetryWorker",
      dependencies: [
        "CMalloc", "Kafka", "Postgres", "Telemetry", "Store", "Pipeline", "Coordinator", "Monitoring",
        argumentParser, configuration, logging, unixSignals,
      ],
      swiftSettings: strict),

    // Measures the built worker; shares with the tests how a process of it is started.
    .executableTarget(
      name: "TelemetryBench",
      dependencies: ["Kafka", "Postgres", "Telemetry", "Store", "TestSupport", argumentParser, unixSignals],
      swiftSettings: strict),

    // Tests mirror the modules.
    .target(
      name: "TestSupport", dependencies: ["Kafka", "Postgres", "Store", "Telemetry"],
      path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(name: "KafkaTests", dependencies: ["Kafka", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "MonitoringTests", dependencies: ["Monitoring", "TestSupport", logging, flyingFox],
      swiftSettings: strict),
    .testTarget(
      name: "PostgresTests", dependencies: ["Postgres", "Store", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "StoreTests",
      dependencies: ["Postgres", "Store", "Telemetry", "TestSupport", "Threads", logging],
      swiftSettings: strict),
    .testTarget(name: "TelemetryTests", dependencies: ["Telemetry"], swiftSettings: strict),
    .testTarget(
      name: "PipelineTests",
      dependencies: [
        "TelemetryWorker", "Kafka", "Monitoring", "Pipeline", "Postgres", "Store", "Telemetry", "TestSupport",
        logging,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "CoordinatorTests",
      dependencies: ["Coordinator", "Monitoring", "Postgres", "Store", "TestSupport", logging],
      swiftSettings: strict),
    .testTarget(
      name: "TelemetryWorkerTests",
      dependencies: [
        "TelemetryWorker", "Kafka", "Pipeline", "Postgres", "Store", "Telemetry", "TestSupport",
        argumentParser, configuration, logging,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "TelemetryBenchTests",
      dependencies: ["TelemetryBench", "TelemetryWorker", "TestSupport"], swiftSettings: strict),
  ],
  cxxLanguageStandard: .cxx17
)
