parareal bench --depth 110 --batch-size 32 --repetitions 9 --coarse-unit bottleneck --subnetworks 2,3,4,6
