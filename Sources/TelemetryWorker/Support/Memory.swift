import CMalloc

/// How the process takes memory from the system.
enum Memory {
  /// Blocks from here on, in bytes, are given back when they are freed.
  private static let mappedFrom: Int32 = 1 << 20

  /// Keeps the C library from raising that bound by itself (mallopt(3), `M_MMAP_THRESHOLD`): freed buffers of the
  /// size of a batch would then stay in the heap, which took 50 MB. Call it before anything large is allocated.
  static func bound() {
    mallopt(M_MMAP_THRESHOLD, mappedFrom)
  }
}
