// Output layers: rows in the view that suits their width.

template <class P>
void softmax_block(Block<typename P::T> z) {
  each_view<P>(z, {}, [](auto row, auto, index, index) { divide(row, exponentials(row, row.maximum())); });
}

template <class P>
void output(const LossFormula<typename P::T>& loss, Activation f, Block<typename P::T> z, Block<typename P::T> y,
            const typename P::T* weights, double* losses) {
  each_view<P>(z, y, [&](auto zs, auto ys, index first, index rows) {
    output_rows(loss, f, zs, ys, weights + first, rows, losses + first);
  });
}
