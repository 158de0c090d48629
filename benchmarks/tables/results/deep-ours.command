parareal bench --depth 1001 --classes 100 --batch-size 4 --repetitions 5 --coarse-unit depthwise --cuts balanced --subnetworks 1,3,6,12,18,24
