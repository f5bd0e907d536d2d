#!/bin/sh
# Estimate pi from N random points: any program will do, this one is awk.
# usage: train.sh N SEED
awk -v n="$1" -v seed="$2" 'BEGIN {
    srand(seed)
    for (i = 1; i <= n; i++) { x = rand(); y = rand(); hits += x * x + y * y < 1 }
    error = 4 * hits / n - 3.14159265
    print "error", error < 0 ? -error : error
}'
