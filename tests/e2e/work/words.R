# Vectors, strings, random numbers; prints as it goes.
steps <- as.integer(commandArgs(trailingOnly = TRUE)[1])
set.seed(7)
x <- numeric(0)
cat("ready\n")
for (i in 1:steps) {
  x <- c(tail(x, 999), sum(runif(100)))
  if (i %% 200 == 0) {
    m <- matrix(x[1:100], 10)
    cat(i, sprintf("%.10f", sum(solve(m + diag(10)))), "\n")
    flush(stdout())
  }
}
cat("result", sprintf("%.10f", sum(x)), "\n")
