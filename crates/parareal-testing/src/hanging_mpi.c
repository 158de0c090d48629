// Preloaded into ranks: the function of MPI that the environment variable HANGS names does not return.
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void hang_in(const char *call) {
    const char *chosen = getenv("HANGS");
    while (chosen && strcmp(chosen, call) == 0)
        pause();
}

int MPI_Finalize(void) {
    hang_in("MPI_Finalize");
    return PMPI_Finalize();
}

int MPI_Comm_split(MPI_Comm whole, int color, int key, MPI_Comm *part) {
    hang_in("MPI_Comm_split");
    return PMPI_Comm_split(whole, color, key, part);
}
