parareal bench --depth 164 --batch-size 32 --repetitions 5 --coarse-unit basic --subnetworks 1,3,6,12,18,24
