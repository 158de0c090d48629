parareal bench --depth 110 --batch-size 32 --repetitions 9 --coarse-unit depthwise --cuts balanced --subnetworks 2,3,4,6
